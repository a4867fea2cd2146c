"""What is wrong, from what was seen: thing, fault, remedy. A pure function, so it is the same in
`ticklake status` and in the metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from infra.watch.seen import Seen
from lake.ingest.report import SILENT_S, IngestReport
from serving.live.report import FAULTS, SERVICE, SESSIONS, SIGNALS, WORKER

HOT_LAG_S_MAX = 5.0
"""Age of the oldest durable frame that hot does not hold, above which something is wrong: thirty
batches at the default."""

LAKE_LAG_COMMITS_MAX = 10
"""The same for the lake, in times between two commits; half a minute at least."""

LAKE_LAG_S_MIN = 30.0
BUDGET_USED_MAX = 0.8
DISK_FREE_MIN = 0.05
FLUSH_S_MAX = 5.0
BACKUP_AGE_S_MAX = 26 * 3_600.0
"""A day, and two hours to take one."""


Kind = Literal[
    "server",
    "flows",
    "ingest",
    "mover",
    "feed",
    "lag",
    "disk",
    "alert",
    "receiver",
    "backup",
    "live",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
LOGS = {WORKER: "live.log", SIGNALS: "signals.log", SESSIONS: "session.log"}
"""Of processes beside the live service, in the home's log."""

AGAIN = "start the ingest again: it goes on from what is on disk"


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is wrong now."""

    kind: Kind
    thing: str
    fault: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.thing}: {self.fault}: {self.remedy}"


def wrong(seen: Seen) -> list[Wrong]:
    """Return what is wrong, causes before effects."""
    return [
        *_servers(seen),
        *_flows(seen),
        *_disk(seen),
        *(each for report in seen.reports for each in _ingest(report, seen)),
        *_left(seen),
        *_alerts(seen),
        *_receivers(seen),
        *_backup(seen),
        *_live(seen),
    ]


def _servers(seen: Seen) -> Iterator[Wrong]:
    for name, health in seen.servers.items():
        if not health.up:
            yield Wrong("server", name, health.fault, health.remedy)


def _flows(seen: Seen) -> Iterator[Wrong]:
    flows = seen.flows
    if flows is None or flows.up:
        return
    thing = "flows (bars, promises, alerts)"
    silent = f"has said nothing for {flows.silent_s:.0f} s"
    if not flows.here:
        yield Wrong("flows", thing, silent, "start them again where they run, or: ticklake up")
    elif flows.pid is None:
        yield Wrong("flows", thing, "their process is gone", "ticklake up; see log/flows.log")
    else:
        remedy = f"let it go on (kill -CONT {flows.pid}), or end it, then: ticklake up"
        yield Wrong("flows", thing, f"process {flows.pid} {silent}", remedy)


def _disk(seen: Seen) -> Iterator[Wrong]:
    if seen.disk is None:
        return
    for shard, journal in seen.journals.items():
        used = journal.bytes / seen.disk.budget
        if used > BUDGET_USED_MAX:
            yield Wrong(
                "disk",
                f"journal of shard {shard}",
                f"{used:.0%} of its budget is used, intake stops at 100 %",
                "let the lake catch up and run `ticklake verify`, which seals and deletes what is"
                " proven, or raise TICKLAKE_JOURNAL_BYTES_MAX",
            )
    if seen.disk.free < seen.disk.total * DISK_FREE_MIN:
        yield Wrong(
            "disk",
            "disk of the home",
            f"{seen.disk.free / 2**30:.1f} GiB are free",
            "free space: a full disk stops intake",
        )


def _ingest(report: IngestReport, seen: Seen) -> Iterator[Wrong]:
    name = f"ingest of shard {report.shard}"
    if report.fault is not None:
        kind, thing, fault, remedy = report.fault
        yield Wrong("ingest", name, f"ended ({kind}): {thing}: {fault}", remedy or AGAIN)
    elif not report.alive:
        yield Wrong("ingest", name, f"its process {report.pid} is gone", AGAIN)
    elif not report.speaks:
        yield Wrong(
            "ingest",
            name,
            f"process {report.pid} has said nothing for {report.age_s:.0f} s",
            f"let it go on (kill -CONT {report.pid}), or end it and start it again",
        )
    else:
        yield from _reader(name, report)
        yield from _mover(report)
        yield from _lag(report, seen)


def _reader(name: str, report: IngestReport) -> Iterator[Wrong]:
    status = report.status
    loop_s = (report.at_us - (status["at_us"] or report.at_us)) / 1e6
    flush_s = (report.at_us - (status["flushed_us"] or report.at_us)) / 1e6
    if loop_s > SILENT_S:
        yield Wrong("ingest", name, f"its reader hangs since {loop_s:.0f} s", "end it; " + AGAIN)
    elif flush_s > FLUSH_S_MAX and not status["draining"]:
        fault = f"nothing was made durable for {flush_s:.0f} s"
        yield Wrong("ingest", name, fault, "look at the journal's disk")
    for feed, said in status["feeds"].items():
        gaps = said["gaps_opened"] - said["gaps_closed"]
        if gaps > 0 and not status["draining"]:
            silent_s = (report.at_us - said["last_us"]) / 1e6
            yield Wrong(
                "feed",
                f"feed {feed} of shard {report.shard}",
                f"{gaps} gap{'s' if gaps > 1 else ''} open, last heard {silent_s:.0f} s ago",
                "it connects again by itself; is the venue up?",
            )


def _mover(report: IngestReport) -> Iterator[Wrong]:
    name = f"mover of shard {report.shard}"
    age_s = report.mover_age_s
    if age_s is not None and age_s > SILENT_S:
        yield Wrong(
            "mover",
            name,
            f"has said nothing for {age_s:.0f} s",
            f"let it go on (kill -CONT), or end the ingest (process {report.pid}) and start it"
            " again; frames are safe in the journal",
        )
    waits = report.status["mover"].get("waits", {})
    for fault in dict.fromkeys(waits.values()):
        threads = ", ".join(thread for thread, waited in waits.items() if waited == fault)
        yield Wrong("mover", name, f"{threads} waits: {fault}", "it goes on when that is over")


def _lag(report: IngestReport, seen: Seen) -> Iterator[Wrong]:
    hot_s, lake_s = (report.status[f"{store}_lag_ms"] / 1000 for store in ("hot", "lake"))
    lake_s_max = max(LAKE_LAG_S_MIN, LAKE_LAG_COMMITS_MAX * seen.lake_commit_ms / 1000)
    remedy = "it catches up by itself once its servers answer and the load allows"
    for store, lag_s, most_s in (("hot", hot_s, HOT_LAG_S_MAX), ("lake", lake_s, lake_s_max)):
        if lag_s > most_s:
            fault = f"the {store} tier is {lag_s:.0f} s behind the journal"
            yield Wrong("lag", f"shard {report.shard}", fault.replace("lake tier", "lake"), remedy)


def _left(seen: Seen) -> Iterator[Wrong]:
    """Frames that nobody moves: no ingest of the shard speaks."""
    speaking = {report.shard for report in seen.reports if report.speaks}
    for shard in seen.journals.keys() - speaking:
        hot, lake = seen.behind(shard)
        if hot or lake:
            fault = (
                f"{max(hot, lake):,} journalled frames are not in the lake, and nobody moves them"
            )
            yield Wrong("lag", f"shard {shard}", fault, AGAIN)


def _alerts(seen: Seen) -> Iterator[Wrong]:
    if seen.hot is not None:
        for alert in seen.hot.alerts:
            yield Wrong("alert", alert.thing, alert.fault, alert.remedy)


def _receivers(seen: Seen) -> Iterator[Wrong]:
    """Those who are to be told of alerts, and can't be."""
    for late in seen.standing.waiting if seen.standing else ():
        name = f"alerts by {late.receiver}"
        fault = f"{late.waiting} not sent, {late.given_up} given up ({late.fault})"
        yield Wrong("receiver", name, fault, "it is tried again; see `ticklake alerts test`")


def _backup(seen: Seen) -> Iterator[Wrong]:
    backup = seen.standing.backup if seen.standing else None
    if backup is not None and backup.age_s is not None and backup.age_s > BACKUP_AGE_S_MAX:
        fault = f"the newest ended {backup.age_s / 3_600:.0f} hours ago"
        remedy = "is its process running? ticklake up, or: ticklake backup now"
        yield Wrong("backup", "base backup", fault, remedy)


def _live(seen: Seen) -> Iterator[Wrong]:
    """The service and the processes beside it: silent, though none of them ended in order."""
    service = seen.live.get(SERVICE)
    runs = service is not None and service.speaks
    for name, report in seen.live.items():
        thing = f"live's {name}"
        if not report.speaks:
            remedy = "end its process where one hangs, and start it again: ticklake live"
            if name in LOGS and runs:
                remedy = f"it is started again where it ended, or end it; see log/{LOGS[name]}"
            yield Wrong("live", thing, f"has said nothing for {report.age_s:.0f} s", remedy)
            continue
        for fault in report.said.get(FAULTS, ()):
            yield Wrong("live", thing, str(fault), f"see log/{LOGS[name]}")
