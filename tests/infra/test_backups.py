"""Backups are taken by themselves, once a day; what fails is an alert until it succeeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from infra.recovery.places import place_of, wanted
from infra.resident.backups import EVERY, ROUND_S, Backups, of_home
from infra.servers import embedded
from infra.servers.backup_process import MODULE
from infra.servers.process import processes, wait_until
from infra.watch.seen import Seen
from infra.watch.wrong import BACKUP_AGE_S_MAX, wrong
from lake.clock import ManualClock, SystemClock
from lake.hot.alerts import open_alerts
from lake.hot.standing import BackupStanding, Standing
from lake.settings import Settings
from lake.state import postgres_dsn

CLOCK = SystemClock()
BACKUP_S_MAX = 180.0


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Return an archived home; its servers end with the test."""
    path = (tmp_path / "home").resolve()
    settings = Settings(home=path, backup=str(tmp_path / "backup"))
    try:
        embedded.up(path, backup=wanted(settings))
        yield path
    finally:
        embedded.down(path)


def backups_of(home: Path, clock: ManualClock) -> Backups:
    return Backups(of_home(Settings(home=home), clock), clock)


def alerts(home: Path) -> list[str]:
    with psycopg.connect(postgres_dsn(home)) as connection:
        return [each.thing for each in open_alerts(connection)]


def test_one_is_taken_at_once_and_then_one_a_day_over_restarts(home: Path) -> None:
    clock = ManualClock(CLOCK.now_us())
    taken = [backups_of(home, clock).round() for _ in range(3)]
    assert taken == [True, False, False]
    clock.sleep(EVERY.total_seconds() - ROUND_S)
    assert not backups_of(home, clock).round()
    clock.sleep(ROUND_S)
    assert backups_of(home, clock).round()
    assert len(place_of(home).backups()) == 2


def test_what_fails_is_an_alert_and_is_tried_again_later_and_later(home: Path) -> None:
    clock = ManualClock(CLOCK.now_us())
    backups = backups_of(home, clock)
    folder = home.parent / "backup"
    folder.rename(home.parent / "aside")
    folder.write_text("a file where the folder was")
    assert not backups.round()
    assert "base backup" in alerts(home)
    folder.unlink()
    (home.parent / "aside").rename(folder)
    assert not backups.round()  # it is not yet time to
    clock.sleep(ROUND_S)
    assert backups.round()
    assert alerts(home) == []


def test_a_database_that_is_away_is_waited_for(home: Path) -> None:
    backups = backups_of(home, ManualClock(CLOCK.now_us()))
    embedded.down(home)
    assert not backups.round()


def test_a_backup_that_is_too_old_is_wrong() -> None:
    def seen(age_s: float) -> Seen:
        backup = BackupStanding(1, None, age_s, 0)
        return Seen(standing=Standing({}, {}, {}, {}, None, 1, backup=backup))

    assert wrong(seen(BACKUP_AGE_S_MAX)) == []
    (found,) = wrong(seen(BACKUP_AGE_S_MAX + 1))
    assert (found.kind, found.fault) == ("backup", "the newest ended 26 hours ago")


def command(*words: str, **settings: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "infra.command.main", *words, "--json"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_up_starts_who_takes_them_and_status_says_so(tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    command("up", "--home", home, TICKLAKE_BACKUP=str(tmp_path / "backup"))
    try:

        def taken() -> bool:
            return bool(command("status", "--home", home)["backup"]["count"])

        assert wait_until(CLOCK, taken, BACKUP_S_MAX)
        assert [p for p in processes() if MODULE in p.words and home in p.words]
        command("up", "--home", home, TICKLAKE_BACKUP="off")
        assert not [p for p in processes() if MODULE in p.words and home in p.words]
    finally:
        assert "postgres" in command("down", "--home", home)["stopped"]
