"""Issue 5: a home that was off at a flow's hour runs it once when it is back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from flows.jobs import JOBS
from flows.missed import (
    MADE_UP_MAX,
    SELDOM,
    Missed,
    by_prefect,
    keep_made_up,
    last_due,
    make_up,
    missed,
)
from flows.scheduled.audit import AUDIT
from flows.scheduled.features import FEATURES
from flows.scheduled.ledger import ORDER_AUDIT
from flows.scheduled.lineage import LINEAGE
from flows.scheduled.models import MODELS
from flows.scheduled.retention import RETENTION
from flows.scheduled.schedule import Schedule
from flows.scheduled.schedules import SCHEDULES
from flows.serve import deployments
from lake.clock import ManualClock
from lake.lineage.run import Run, Teller
from lake.state import write_state
from tests.bars.trading import EPOCH
from tests.flows.stops import EndsAfter

NOW = datetime(2026, 11, 26, 20, tzinfo=UTC)
SOME = (RETENTION, AUDIT, FEATURES)


def clock_at(moment: datetime) -> ManualClock:
    return ManualClock((moment - EPOCH) // timedelta(microseconds=1))


@pytest.fixture
def began(migrated_dsn: str) -> str:
    """A home's database that was made a month ago."""
    with psycopg.connect(migrated_dsn) as connection:
        connection.execute(
            "UPDATE market.schema_migrations SET applied_at = %s", (NOW - timedelta(days=30),)
        )
    return migrated_dsn


def ended(dsn: str, schedule: Schedule, at: datetime, *, well: bool = True) -> None:
    """Have a flow's run told of, as its hooks do."""
    run = Run(Teller(dsn, clock_at(at)), JOBS[schedule.name])
    run.tell("START")
    run.tell("COMPLETE" if well else "FAIL")


def names(dsn: str, now: datetime = NOW, schedules: tuple[Schedule, ...] = SOME) -> list[str]:
    with psycopg.connect(dsn) as connection:
        return [each.schedule.name for each in missed(connection, now, schedules)]


def test_a_flow_s_last_due_time_is_its_anchor_and_whole_steps() -> None:
    for each in SCHEDULES:
        due = last_due(each, NOW)
        assert timedelta() <= NOW - due < each.every
        assert (due - each.anchor) % each.every == timedelta()
    assert last_due(RETENTION, NOW) == NOW.replace(hour=14, minute=30)
    assert last_due(RETENTION, NOW.replace(hour=14, minute=30)) == NOW.replace(hour=14, minute=30)


def test_what_ended_well_since_it_was_due_was_not_missed(began: str) -> None:
    """Whoever ran it: a run by hand tells of the same job. What comes every hour is not made up."""
    assert names(began) == ["audit", "retention"]
    ended(began, RETENTION, last_due(RETENTION, NOW) - timedelta(minutes=1))
    ended(began, AUDIT, last_due(AUDIT, NOW) + timedelta(minutes=1), well=False)
    assert names(began) == ["audit", "retention"]
    ended(began, RETENTION, last_due(RETENTION, NOW) + timedelta(minutes=1))
    assert names(began) == ["audit"]
    ended(began, AUDIT, NOW)
    assert names(began) == []
    assert names(began, NOW + timedelta(days=1)) == ["audit", "retention"]


def test_a_new_home_has_missed_nothing_and_every_seldom_flow_can_be_missed(
    began: str, migrated_dsn: str
) -> None:
    seldom = {each.name for each in SCHEDULES if each.every >= SELDOM}
    assert {"retention", "audit", "models", "order-audit"} <= seldom
    later = NOW + timedelta(days=200)
    assert set(names(began, later, SCHEDULES)) == seldom
    assert names(began, NOW - timedelta(days=30) + timedelta(minutes=1), SCHEDULES) == []
    assert LINEAGE.name not in seldom


def test_each_is_made_up_once_and_a_bad_end_does_not_run_it_again(began: str) -> None:
    """One after the other, oldest due first; looked at anew before each."""
    ran: list[str] = []

    def look() -> list[Missed]:
        with psycopg.connect(began) as connection:
            return missed(connection, NOW, (RETENTION, AUDIT, MODELS, ORDER_AUDIT))

    def run(one: Missed) -> None:
        ran.append(one.schedule.name)
        if one.schedule is MODELS:
            ended(began, AUDIT, NOW)  # by hand, meanwhile

    done = make_up(look, run, threading.Event())
    assert ran == [each.schedule.name for each in done]
    assert "audit" not in ran
    assert "retention" in ran
    assert max(map(ran.count, ran)) == MADE_UP_MAX == 1
    stopped = threading.Event()
    stopped.set()
    assert make_up(look, run, stopped) == []


def test_a_server_that_is_away_is_waited_for_and_a_home_that_is_down_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = iter([False, True, True])
    keep_made_up(tmp_path, clock_at(NOW), EndsAfter(3), lambda: next(there))
    assert list(there) == []
    assert capsys.readouterr().err.count("missed runs: ") == 2


@pytest.fixture(scope="module")
def prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


def test_prefect_runs_the_deployment_once_however_often_it_is_asked(
    prefect: None, tmp_path: Path
) -> None:
    """As a run of the deployment, with the home's parameters, and without waiting for a slot."""
    write_state(tmp_path, {})
    [deployment] = [each for each in deployments(tmp_path) if each.name == RETENTION.name]
    deployment.apply()
    one = Missed(RETENTION, last_due(RETENTION, NOW))
    found = [by_prefect(one, "", NOW, wait_s=0) for _ in range(2)]
    assert found[0].id == found[1].id
    assert found[0].parameters == {"home": str(tmp_path)}
    assert found[0].name == "retention made up for 2026-11-26T14:30"
    later = by_prefect(one, "", NOW + timedelta(hours=1), wait_s=0)
    assert later.id != found[0].id
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(found[0].id)
    assert str(run.deployment_id)
    assert run.state is not None
    assert run.state.is_scheduled()
