"""One at a time: who waits is told once, and who waits for too long is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.servers.lock import held
from lake.clock import SystemClock
from lake.errors import Unavailable

CLOCK = SystemClock()
REFUSED = Unavailable("place", "another one is at work", "wait for it")


def test_a_lock_is_held_by_one_and_free_after_it(tmp_path: Path) -> None:
    path, told = tmp_path / "lock", list[str]()
    with held(path, CLOCK, 0.1, REFUSED, lambda: told.append("waits")):
        assert told == []
        with (
            pytest.raises(Unavailable, match="another one is at work"),
            held(path, CLOCK, 0.1, REFUSED, lambda: told.append("waits")),
        ):
            raise AssertionError("two hold it")
    assert told == ["waits"]
    with held(path, CLOCK, 0.1, REFUSED, lambda: told.append("waits")):
        assert told == ["waits"]
