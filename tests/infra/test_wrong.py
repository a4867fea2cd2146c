"""What is wrong is said with its remedy, and nothing is said to be wrong that is not."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.watch.probes import SILENT, Health
from infra.watch.seen import Disk, Seen, ShardJournal
from infra.watch.status import document, lines
from infra.watch.wrong import Wrong, wrong
from lake.hot.alerts import Alert
from lake.hot.edition import Edition
from lake.hot.look import HotLook
from lake.hot.standing import Standing
from lake.ingest.report import IngestReport
from lake.ingest.status import FeedStatus, Status
from serving.live.report import LiveReport

NOW_US = 1_795_000_000_000_000
MOVER = {"at_us": NOW_US, "hot_frame": 90, "lake_frame": 80, "waits": {}}


def report(**changed: Any) -> IngestReport:
    """Return what an ingest says that is well, but for what is changed."""
    mover = {**MOVER, **changed.pop("mover", {})}
    status = Status(0, at_us=NOW_US, flushed_us=NOW_US, mover=mover, **changed.pop("status", {}))
    well = IngestReport(0, 17, asdict(status), None, NOW_US, 0.5, True)
    return replace(well, **changed)


WELL = Seen(
    servers={"postgres": Health(True, 0.01)},
    reports=[report()],
    journals={0: ShardJournal(1_000, 100)},
    disk=Disk(free=80, total=100, budget=10_000),
    standing=Standing({0: 90}, {0: 80}, {"shard-0": 1}, {}, None, 1),
    hot=HotLook(Edition("plain", "18"), [], {}),
)
ALERT = Alert("day", "is not proven", "run verify", *[datetime(2026, 1, 1, tzinfo=UTC)] * 2)


def of(seen: Seen) -> list[tuple[str, str]]:
    return [(each.kind, each.thing) for each in wrong(seen)]


def test_a_home_at_work_is_well_also_where_a_journal_is_ahead_of_its_stores() -> None:
    assert wrong(WELL) == []
    assert wrong(Seen()) == []


def test_a_live_process_that_is_silent_or_says_a_fault_is_wrong() -> None:
    well = {name: LiveReport({}, 0.5) for name in ("service", "worker", "signals", "sessions")}
    seen = replace(WELL, live=well)
    assert wrong(seen) == []
    assert "live        service, worker, signals, sessions  run" in lines(seen, [])
    worker, signals = LiveReport({}, 61.0), LiveReport({"faults": ["champion x is silent"]}, 0.5)
    seen = replace(seen, live={**well, "worker": worker, "signals": signals})
    first, second = wrong(seen)
    assert str(first).startswith("live's worker: has said nothing for 61 s: it is started again")
    assert "log/live.log" in first.remedy
    assert (second.kind, second.fault) == ("live", "champion x is silent")
    assert document(seen, [])["live"]["worker"] == {"runs": False, "age_s": 61.0}
    (gone,) = wrong(replace(WELL, live={"service": worker}))
    assert "ticklake live" in gone.remedy


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [("Connection refused", "start it: ticklake up, or"), (SILENT, "frozen or overloaded")],
)
def test_a_server_that_is_down_is_not_one_that_hangs(fault: str, remedy: str) -> None:
    (found,) = wrong(replace(WELL, servers={"trino": Health(False, 2.0, fault)}))
    assert (found.kind, found.thing, found.fault) == ("server", "trino", fault)
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (report(alive=False), "ingest", "its process 17 is gone"),
        (report(age_s=4.0), "ingest", "has said nothing for 4 s"),
        (report(fault=("Fenced", "shard 0", "a newer owner", "")), "ingest", "ended (Fenced)"),
        (report(status={"hot_lag_ms": 6_000.0}), "lag", "the hot tier is 6 s behind"),
        (report(status={"lake_lag_ms": 31_000.0}), "lag", "the lake is 31 s behind"),
        (report(at_us=NOW_US + 4_000_000, mover={"at_us": NOW_US + 4_000_000}), "ingest", "hangs"),
        (report(mover={"at_us": NOW_US - 4_000_000}), "mover", "has said nothing for 4 s"),
        (report(mover={"waits": {"writer": "gone"}}), "mover", "writer waits: gone"),
    ],
)
def test_an_ingest_that_is_not_well_says_how(said: IngestReport, kind: str, words: str) -> None:
    journals = {0: ShardJournal(1_000, 80)}  # the lake has it all
    (found,) = wrong(replace(WELL, reports=[said], journals=journals))
    assert found.kind == kind
    assert words in found.fault
    assert found.remedy


def test_threads_that_wait_for_one_thing_are_one_fault() -> None:
    waits = {"writer": "refused", "keeper": "refused", "committer": "no bucket"}
    found = wrong(replace(WELL, reports=[report(mover={"waits": waits})]))
    assert [each.fault for each in found] == [
        "writer, keeper waits: refused",
        "committer waits: no bucket",
    ]


def test_a_feed_is_wrong_while_its_gap_is_open() -> None:
    feeds = {"sim": FeedStatus(last_us=NOW_US - 7_000_000, gaps_opened=3, gaps_closed=2)}
    (found,) = wrong(replace(WELL, reports=[report(status={"feeds": feeds})]))
    assert str(found).startswith("feed sim of shard 0: 1 gap open, last heard 7 s ago: ")
    feeds["sim"].gaps_closed = 3
    assert wrong(replace(WELL, reports=[report(status={"feeds": feeds})])) == []


def test_frames_that_nobody_moves_are_wrong_and_those_that_are_moved_are_not() -> None:
    assert of(replace(WELL, reports=[])) == [("lag", "shard 0")]
    assert of(replace(WELL, reports=[], journals={0: ShardJournal(1_000, 80)})) == []
    assert of(replace(WELL, reports=[], standing=None)) == []


def test_a_disk_or_budget_that_runs_out_is_wrong_before_it_has() -> None:
    assert of(replace(WELL, disk=Disk(4, 100, 10_000))) == [("disk", "disk of the home")]
    assert of(replace(WELL, disk=Disk(80, 100, 1_200))) == [("disk", "journal of shard 0")]


def test_an_open_alert_is_wrong_as_it_says() -> None:
    assert WELL.hot is not None
    assert wrong(replace(WELL, hot=replace(WELL.hot, alerts=[ALERT]))) == [
        Wrong("alert", "day", "is not proven", "run verify")
    ]
