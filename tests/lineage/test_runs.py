"""Ingest and scheduled flows tell of their runs, with the snapshots that the tables have."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from prefect import Flow
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Failed, Running

from flows.jobs import JOBS
from flows.scheduled.schedules import SCHEDULES
from flows.serve import send_lineage
from infra.command.main import run
from infra.servers.process import wait_until
from lake.clock import ManualClock, SystemClock
from lake.errors import Damaged
from lake.ingest.commits_told import TELL_S, CommitsTold
from lake.ingest.hot_to_lake import Moved
from lake.lineage.destination import Destination, destination
from lake.lineage.job import Job, hot, lake
from lake.lineage.run import Teller
from lake.settings import Settings
from lake.state import write_state
from lake.tables.catalog import open_catalog
from tests.bars.test_trades_to_bars import House
from tests.bars.trading import trades
from tests.lineage.receiver import receiving
from tests.path.lakehouse import Lakehouse, stream


def events(dsn: str) -> list[tuple[str, str, dict[str, int], dict[str, object]]]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT job, event_type, snapshots, event FROM market.lineage_events ORDER BY event_no"
        ).fetchall()
    return [(job, kind, json.loads(found), json.loads(event)) for job, kind, found, event in rows]


def test_ingest_tells_of_its_commits_with_the_snapshots_of_the_tables(
    migrated_dsn: str, tmp_path: Path
) -> None:
    house = Lakehouse(migrated_dsn, tmp_path)
    house.journal(stream(0, 20), stream(20, 20))
    assert house.move() == 0
    found = events(migrated_dsn)
    to_lake = [each for each in found if each[0] == "hot_to_lake"]
    assert [each[1] for each in to_lake] == ["START", "COMPLETE"]
    assert {each[0] for each in found} == {"journal_to_hot", "hot_to_lake"}
    named = to_lake[0][2] | to_lake[1][2]
    with closing(open_catalog(migrated_dsn, house.place)) as catalog:
        for name, snapshot_id in named.items():
            table = catalog.load_table(("market", name.rpartition(".")[2]))
            assert table.metadata.snapshot_by_id(snapshot_id) is not None
        trades = catalog.load_table(("market", "crypto_trades"))
        assert named[lake("crypto_trades")] == trades.metadata.current_snapshot_id


def test_a_long_ingest_tells_once_a_minute_and_of_every_row(migrated_dsn: str) -> None:
    clock = ManualClock()
    told = CommitsTold(Teller(migrated_dsn, clock), clock)
    for _ in range(100):
        told.moved(Moved({"crypto_trades": 10, "feed_gaps": 0}, False, {}), [])
        clock.sleep(2)
    told.end()
    found = [each for each in events(migrated_dsn) if each[0] == "hot_to_lake"]
    assert [kind for _, kind, _, _ in found] == ["START", *["RUNNING"] * 3, "COMPLETE"]
    assert TELL_S == 60
    rows = [
        output["outputFacets"]["outputStatistics"]["rowCount"]
        for *_, event in found
        for output in event["outputs"]  # type: ignore[attr-defined]
        if output["outputFacets"]
    ]
    assert sum(rows) == 1_000


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda each: each.name)
def test_a_scheduled_flow_has_a_job_and_tells_how_its_runs_went(
    schedule: object, migrated_dsn: str, tmp_path: Path
) -> None:
    flow, name = schedule.flow, schedule.name  # type: ignore[attr-defined]
    assert isinstance(flow, Flow)
    assert name in JOBS, f"declare what {name} reads and writes in flows/jobs.py"
    write_state(tmp_path, {"postgres": {"dsn": migrated_dsn}})
    ran = FlowRun(id=uuid4(), flow_id=uuid4(), parameters={"home": str(tmp_path)})
    hooks = ((flow.on_running_hooks, Running()), (flow.on_failure_hooks, Failed(message="no")))
    for found, state in (*hooks, (flow.on_completion_hooks, Completed())):
        for hook in found:
            hook(flow, ran, state)
    kinds = [(job, kind) for job, kind, _, _ in events(migrated_dsn)]
    job = JOBS[name].name
    assert kinds == [(job, "START"), (job, "FAIL"), (job, "COMPLETE")]
    runs = {event["run"]["runId"] for *_, event in events(migrated_dsn)}  # type: ignore[index]
    assert runs == {str(ran.id)}


def test_a_run_says_that_it_failed_when_a_later_step_did(migrated_dsn: str, tmp_path: Path) -> None:
    """Bars of one step are out, the next step raises: the run did not complete."""
    house = House(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    house.take(trades(1, 1, count=40))

    def fails() -> None:
        with house.bars() as bars:
            bars.drain()
            raise Damaged("bars", "no more", "none")

    with pytest.raises(Damaged, match="no more"):
        fails()
    with house.bars() as bars:
        bars.drain()
    house.take(trades(2, 41, count=40))
    with house.bars() as bars:
        bars.drain()
    house.close()
    told = [
        (kind, event) for job, kind, _, event in events(migrated_dsn) if job == "trades_to_bars"
    ]
    assert [kind for kind, _ in told] == ["START", "FAIL", "START", "COMPLETE"]
    assert "no more" in json.dumps(told[1][1])


def test_the_flows_process_sends_to_the_receiver_that_up_was_told_of(
    migrated_dsn: str, tmp_path: Path
) -> None:
    stop = threading.Event()
    with Teller(migrated_dsn, SystemClock()).run(Job("mend", "Mends.")):
        pass
    with receiving() as receiver:
        to = Destination(receiver.url, "hunter2", "desk")
        state = {"postgres": {"dsn": migrated_dsn}, "lineage": to.document()}
        write_state(tmp_path, state)
        thread = threading.Thread(target=send_lineage, args=(tmp_path, stop), daemon=True)
        thread.start()
        assert wait_until(SystemClock(), lambda: len(receiver.events) == 2, 60)
        stop.set()
        thread.join(60)
    assert [event["eventType"] for event in receiver.events] == ["START", "COMPLETE"]
    assert receiver.keys == ["Bearer hunter2"] * 2


def test_what_up_was_told_stays_until_it_is_told_other_and_no_key_goes_elsewhere() -> None:
    first = destination(Settings(lineage_url="http://a/x", lineage_api_key="k"), {})
    state = {"lineage": first.document()}
    assert destination(Settings(), state) == first == Destination("http://a/x", "k", "ticklake")
    assert destination(Settings(lineage_url="http://b/x"), state).api_key == ""
    assert destination(Settings(lineage_url="off"), state) == Destination()
    assert destination(Settings(lineage_namespace="desk"), state).namespace == "desk"
    assert "hunter2" not in repr(Destination("http://a", "hunter2"))


def test_the_verb_shows_runs_and_sends_what_waits(
    migrated_dsn: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_state(tmp_path, {"postgres": {"dsn": migrated_dsn}})
    job = Job("mend", "Mends.", (hot("feed_gaps"),), (lake("feed_gaps"),))
    with Teller(migrated_dsn, SystemClock()).run(job):
        pass
    assert run(["lineage", "--home", str(tmp_path)]) == 0
    assert "COMPLETE  mend" in capsys.readouterr().out
    assert run(["lineage", "--send", "--home", str(tmp_path)]) == 2
    with receiving() as receiver:
        monkeypatch.setenv("TICKLAKE_LINEAGE_URL", receiver.url)
        assert run(["lineage", "--send", "--json", "--home", str(tmp_path)]) == 0
        assert [event["eventType"] for event in receiver.events] == ["START", "COMPLETE"]
    capsys.readouterr()
    assert run(["lineage", "--json", "--home", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["endpoint"]["sent"] == 2
