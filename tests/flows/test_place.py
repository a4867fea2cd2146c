"""Flows go by the settings that `up` was given, in an environment of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.place import settings_of
from flows.serve import deployments
from lake.settings import from_env
from lake.state import write_state

OLD = {"TICKLAKE_OLD_DSN": "postgresql://old", "TICKLAKE_OLD_WRITE": "on"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path


def test_what_up_was_given_is_kept_but_for_the_home_and_faults() -> None:
    environ = {**OLD, "TICKLAKE_HOME": "x", "TICKLAKE_FAULT_PLAN": "a=b", "PATH": "/bin"}
    assert from_env(environ).variables() == OLD


def test_settings_of_the_last_up_hold_where_the_environment_is_silent(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_state(home, {"settings": {**OLD, "TICKLAKE_BARS_GRACE_MS": "7"}})
    monkeypatch.setenv("TICKLAKE_OLD_WRITE", "off")
    found = settings_of(home)
    assert (found.old_dsn, found.old_write, found.bars_grace_ms) == ("postgresql://old", "off", 7)
    assert found.home == home


def test_a_flow_that_a_home_has_no_need_of_is_paused(home: Path) -> None:
    assert [each.name for each in deployments(home) if each.paused] == ["follow"]
    write_state(home, {"settings": OLD})
    assert not any(each.paused for each in deployments(home))
