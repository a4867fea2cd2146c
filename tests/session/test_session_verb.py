"""ticklake live --strategy and --replay: a home trades on paper, and decides it all again."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from shutil import rmtree
from typing import Any

import psycopg
import pytest

from feature_repo.trading.money import units
from infra.command.main import run
from infra.servers.process import processes
from lake.roles import role_dsn
from tests.service.test_verbs import beside, exchange, until

ACCOUNT = "buy-and-hold"


def filled(home: Path) -> int:
    """Return how many orders of the account are filled whole."""
    with psycopg.connect(role_dsn(home, "service")) as connection:
        found = connection.execute(
            "SELECT count(*) FROM market.order_events WHERE account = %s AND event_type = 'filled'",
            (ACCOUNT,),
        ).fetchone()
    return int(found[0]) if found else 0


def times_live(home: Path) -> int:
    """Return how often sessions have begun to take frames of the stream."""
    return (home / "log" / "session.log").read_text().count(" is live")


def limits_of_sessions(home: Path) -> set[int]:
    """Return the most that an order may be worth, as sessions recorded it for their replay."""
    with psycopg.connect(role_dsn(home, "service")) as connection:
        found = connection.execute(
            "SELECT said FROM market.live_sessions WHERE word = 'start'"
        ).fetchall()
    return {json.loads(said)["limits"]["order_value"] for (said,) in found}


def days_of_sessions(home: Path) -> list[str]:
    """Return the days on which sessions began; two, where it was midnight meanwhile."""
    with psycopg.connect(role_dsn(home, "service")) as connection:
        found = connection.execute(
            "SELECT DISTINCT left(session, 8) FROM market.live_sessions"
            " WHERE word = 'start' ORDER BY 1"
        ).fetchall()
    return [f"{day[:4]}-{day[4:6]}-{day[6:]}" for (day,) in found]


def test_what_is_traded_is_decided_again_from_journal_and_lake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKLAKE_LIMITS", "order_value=90000")
    home = tmp_path / "home"
    assert run(["up", "--home", str(home)]) == 0
    try:
        words = ("live", "--port", "0", "--home", str(home), "--strategy", f"{ACCOUNT}:size=0.01")
        with (
            exchange(str(home), "--rate", "200", "--tickers", "4"),
            beside("ingest", "sim", "--home", str(home)),
        ):
            with beside(*words):
                until(lambda: filled(home) > 0)
                before = times_live(home)
                _kill_sessions(home)
                until(lambda: times_live(home) > before)
            assert _sessions(home) == []
        assert limits_of_sessions(home) == {units(90_000)}
        capsys.readouterr()
        sessions: list[dict[str, Any]] = []
        for day in days_of_sessions(home):
            again = ("live", "--replay", day, "--home", str(home), "--json")
            assert run([*again, "--against", "ledger", "--against", "lake"]) == 0
            sessions += json.loads(capsys.readouterr().out)["sessions"]
            assert run([*again, "--session", "none"]) == 2
            capsys.readouterr()
        assert sum(each["orders"] for each in sessions) >= 1
        assert all(each["ended"] and not each["differs"] for each in sessions)
        rmtree(home / "journal")  # as by its age: the lake has the same frames
        for day in days_of_sessions(home):
            again = ("live", "--replay", day, "--home", str(home))
            assert run([*again, "--against", "ledger"]) == 0
            capsys.readouterr()
            assert run([*again, "--against", "ledger", "--against", "lake"]) == 1
            said = capsys.readouterr().out
            assert "from the lake: its journal is gone" in said
            assert "ledger: same decisions" in said
            assert "lake: not compared" in said
    finally:
        run(["down", "--home", str(home)])


def _sessions(home: Path) -> list[int]:
    """Return the processes that trade for a home."""
    words = ("-m", "serving.session.run", str(home))
    return [each.pid for each in processes() if each.words[1:4] == words]


def _kill_sessions(home: Path) -> None:
    (pid,) = _sessions(home)
    os.kill(pid, signal.SIGKILL)
