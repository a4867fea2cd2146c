"""The verbs of the ledger, on a home with servers; and its tables in the lake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from feature_repo.ledger.commands import Cash
from feature_repo.ledger.projection import project
from feature_repo.ledger.writer import Writer
from flows.numbered_to_lake import take
from infra.command.main import run
from lake.audit.results import faults_of_results
from lake.audit.signing import public_key_at
from lake.clock import ManualClock
from lake.contracts.contract import LEDGER_DATASETS
from lake.state import write_state
from lake.views.client import Client
from lake.warehouse import Folder
from tests.order_ledger.orders import ONE, START_US, change, fill, place


@pytest.fixture
def home(tmp_path: Path, migrated_dsn: str) -> Path:
    """Return a home whose ledger holds two orders."""
    found = tmp_path / "home"
    write_state(found, {"postgres": {"dsn": migrated_dsn}})
    writer = Writer(migrated_dsn, ManualClock(START_US))
    writer.commit([Cash("desk", 1000 * ONE, START_US, "in")])
    writer.commit([place("a"), change("a", "accepted"), fill("a"), place("b")])
    writer.close()
    return found


class Verbs:
    """What a user types, and sees."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capsys = capsys

    def say(self, *words: str) -> tuple[int, str]:
        """Return the exit code, and what was said."""
        code = run(["ledger", *words, "--home", str(self.home)])
        said = self._capsys.readouterr()
        return code, said.out + said.err

    def ask(self, *words: str) -> dict[str, Any]:
        """Return the document of a verb that holds."""
        assert run(["ledger", *words, "--json", "--home", str(self.home)]) == 0
        found = json.loads(self._capsys.readouterr().out)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def verbs(home: Path, capsys: pytest.CaptureFixture[str]) -> Verbs:
    """Return the verbs of the home."""
    return Verbs(home, capsys)


def test_show_anchor_verify_audit(verbs: Verbs, migrated_dsn: str) -> None:
    shown = verbs.ask("show")["orders"]
    assert [(each["client_order_id"], each["current_state"]) for each in shown] == [
        ("b", "created"),
        ("a", "filled"),
    ]
    events = verbs.ask("show", "a")["events"]
    assert [each["event_type"] for each in events] == ["created", "accepted", "filled"]
    assert json.loads(events[0]["event_data"])["origin"]["model"] == "trees/7"
    code, said = verbs.say("show", "nobody")
    assert code != 0
    assert "is not in the ledger" in said
    assert verbs.ask("anchor")["anchor"]["number"] == 1
    assert "nothing new" in verbs.say("anchor")[1]
    found = verbs.ask("verify", "--segments")
    assert (found["events"], found["anchored"], found["segments"]) == (6, 6, 2)
    assert verbs.ask("audit")["coverage_percent"] == "100.00"
    with psycopg.connect(migrated_dsn, autocommit=True) as connection:
        public = public_key_at(verbs.home / "keys" / "audit.pub.pem")
        assert list(faults_of_results(connection, verbs.home / "audits", public)) == []
        connection.execute("ALTER TABLE market.order_events DISABLE TRIGGER USER")
        connection.execute("DELETE FROM market.order_events WHERE id = 4")
    code, said = verbs.say("verify")
    assert code == 1
    assert "anchor 1 names 4" in said
    assert verbs.say("audit")[0] == 1


def test_replay_as_of(verbs: Verbs) -> None:
    now = verbs.ask("replay", "--table", "orders")
    assert (now["events"], now["tables"]["orders"]["rows"], len(now["rows"])) == (6, 2, 2)
    before = verbs.ask("replay", "--as-of", "2024-08-08")
    assert (before["events"], before["tables"]["orders"]["rows"]) == (0, 0)


def test_the_lake_has_what_the_ledger_has_and_the_view_what_stands(
    home: Path, migrated_dsn: str, tmp_path: Path
) -> None:
    lake = Folder(tmp_path / "warehouse")
    clock = ManualClock(START_US + 600_000_000)
    project(migrated_dsn, clock)
    taken = {name: take(migrated_dsn, lake, name).rows for name in LEDGER_DATASETS}
    assert taken == {
        "order_events": 4,
        "position_events": 2,
        "orders": 2,
        "fills": 1,
        "positions": 1,
        "positions_history": 1,
        "portfolio_snapshots": 2,
    }
    writer = Writer(migrated_dsn, clock)
    writer.commit([change("b", "accepted"), change("b", "cancelled")])
    writer.close()
    project(migrated_dsn, clock)
    states = "SELECT client_order_id, current_state FROM orders ORDER BY 1"
    wanted = [("a", "filled"), ("b", "cancelled")]
    with Client(migrated_dsn, lake) as client:
        assert client.sql(states).fetchall() == wanted
        assert client.sql("SELECT count(*) FROM order_events").fetchall() == [(6,)]
    assert [take(migrated_dsn, lake, each).rows for each in ("orders", "order_events")] == [1, 2]
    with Client(migrated_dsn, lake) as client:
        assert client.sql(states).fetchall() == wanted
        assert client.sql("SELECT count(*) FROM lake.orders").fetchall() == [(3,)]
        events = "SELECT id, hash FROM order_events ORDER BY id"
        held = client.sql(events).fetchall()
    with psycopg.connect(migrated_dsn) as connection:
        hot = connection.execute("SELECT id, hash FROM market.order_events ORDER BY id").fetchall()
    assert held == hot


def test_the_service_adds_events_and_changes_none(migrated_dsn: str) -> None:
    with psycopg.connect(migrated_dsn, autocommit=True) as owner:
        for verb in ("UPDATE", "DELETE", "TRUNCATE"):
            for role in ("service", "operator", "ingest", "verifier", "analyst", "researcher"):
                for table in ("order_events", "position_events", "ledger_anchors"):
                    query = "SELECT has_table_privilege(%s, %s, %s)"
                    given = (f"market_{role}", f"market.{table}", verb)
                    assert owner.execute(query, given).fetchone() == (False,), given
        for table in ("order_events", "position_events"):
            for verb in ("SELECT", "INSERT"):
                query = "SELECT has_table_privilege('market_service', %s, %s)"
                assert owner.execute(query, (f"market.{table}", verb)).fetchone() == (True,)
