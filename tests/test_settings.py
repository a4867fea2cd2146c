"""Settings: read once, bounded, secret where they must be."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.errors import BadInput
from lake.settings import Settings, from_env


def test_an_empty_environment_gives_the_defaults() -> None:
    assert from_env({}) == Settings()
    assert from_env({"TICKLAKE_HOME": ""}).home == Path(".ticklake")


def test_the_home_that_nobody_names_is_here_or_in_a_folder_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "notebooks" / "mine"
    folder.mkdir(parents=True)
    (tmp_path / ".ticklake").mkdir()
    monkeypatch.chdir(folder)
    assert from_env({}).home == tmp_path / ".ticklake"
    assert from_env({"TICKLAKE_HOME": "other"}).home == Path("other")
    assert from_env({}, home=Path("given")).home == Path("given")
    (folder / ".ticklake").mkdir()
    assert from_env({}).home == Path(".ticklake")


def test_the_environment_sets_and_what_is_given_goes_before_it() -> None:
    environ = {"TICKLAKE_FLUSH_MS_MAX": "20", "TICKLAKE_HOT_BATCH_MS": "1_000"}
    settings = from_env(environ, flush_ms_max=30, home=None)
    assert (settings.flush_ms_max, settings.hot_batch_ms) == (30, 1000)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("FLUSH_MS_MAX", "0", "0 is out of bounds: at least 1, at most 100"),
        ("FLUSH_MS_MAX", "soon", "'soon' is no whole number: write it as 1000"),
        ("PROFILE", "moon", "'moon' is unknown: one of embedded, stack"),
        ("COLOUR", "red", "no such setting"),
    ],
)
def test_an_unfit_value_is_refused_by_name(name: str, value: str, fault: str) -> None:
    with pytest.raises(BadInput) as raised:
        from_env({f"TICKLAKE_{name}": value})
    assert str(raised.value).startswith(f"TICKLAKE_{name}: {fault}")


def test_a_secret_is_never_shown() -> None:
    settings = from_env({"TICKLAKE_MASSIVE_API_KEY": "hunter2"})
    assert "hunter2" not in f"{settings} {settings!r}"
    assert "massive_api_key='***'" in repr(settings)
    assert settings.massive_api_key == "hunter2"
