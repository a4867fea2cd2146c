"""What `ticklake status` says beyond the servers: ingests, lags, gaps, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from infra.watch.probes import WATCHES_AS, Health, probe_all
from infra.watch.seen import Seen, disk, journals, tried
from infra.watch.wrong import Wrong
from lake.clock import Clock
from lake.hot.look import look
from lake.hot.promises import floor_percent
from lake.hot.standing import standing
from lake.ingest.report import IngestReport, read_reports
from lake.roles import role_dsn
from lake.settings import Settings
from lake.state import read_state
from serving.live.report import reports_of


def see(settings: Settings, clock: Clock) -> Seen:
    """Look at everything that answers; a server that does not costs two seconds, not more."""
    home = settings.home
    servers = probe_all(read_state(home), clock)
    is_up = servers.get("postgres", Health(False, 0.0)).up
    return Seen(
        servers=servers,
        reports=read_reports(home, clock),
        journals=journals(home),
        disk=disk(home, settings.journal_bytes_max),
        standing=tried(lambda: standing(role_dsn(home, WATCHES_AS))) if is_up else None,
        hot=tried(lambda: look(role_dsn(home, WATCHES_AS))) if is_up else None,
        lake_commit_ms=settings.lake_commit_ms,
        live=reports_of(home, clock),
    )


def document(seen: Seen, found: Sequence[Wrong]) -> dict[str, Any]:
    """Return it for JSON."""
    gaps = seen.standing.gaps if seen.standing else {}
    proof = seen.standing.proof if seen.standing else None
    return {
        "hot": seen.hot.document() if seen.hot else None,
        "shards": {shard: _shard(seen, shard) for shard in seen.journals},
        "ingests": [_ingest(each) for each in seen.reports],
        "live": {
            name: {"runs": each.speaks, "age_s": each.age_s} for name, each in seen.live.items()
        },
        "gaps_open": [{"feed": f, "kind": k, "gaps": count} for (f, k), count in gaps.items()],
        "verify": asdict(proof) if proof else None,
        "promises": _promises(seen),
        "backup": asdict(seen.standing.backup) if seen.standing and seen.standing.backup else None,
        "receivers_not_reached": [asdict(each) for each in seen.standing.waiting]
        if seen.standing
        else [],
        "cost": _cost(seen),
        "wrong": [asdict(each) for each in found],
    }


def _cost(seen: Seen) -> dict[str, Any] | None:
    tiers = seen.standing.tiers if seen.standing else None
    if tiers is None:
        return None
    return {
        "stored_dollars_month": dict(tiers.dollars),
        "modelled_dollars_month": tiers.modelled,
        "budget_dollars_month": tiers.budget,
        "events_per_second": tiers.events_per_s,
    }


def _shard(seen: Seen, shard: int) -> dict[str, Any]:
    hot, lake = seen.behind(shard)
    journal = seen.journals[shard]
    return {
        "durable_frame": journal.durable_frame,
        "journal_bytes": journal.bytes,
        "hot_lag_frames": hot if seen.standing else None,
        "lake_lag_frames": lake if seen.standing else None,
    }


def _ingest(report: IngestReport) -> dict[str, Any]:
    kept = ("hot_lag_ms", "lake_lag_ms", "journal_lag_ms", "durable_frame", "feeds", "draining")
    return {
        "shard": report.shard,
        "pid": report.pid,
        "runs": report.speaks,
        "mover_runs": report.mover_speaks,
        **{name: report.status[name] for name in kept},
        "events": report.status["mover"].get("events", 0),
        "fault": report.fault,
    }


def lines(seen: Seen, found: Sequence[Wrong]) -> list[str]:
    """Return it for people."""
    tiers = seen.standing.tiers if seen.standing else None
    return [
        *(seen.hot.lines() if seen.hot else ()),
        *(_ingest_line(each) for each in seen.reports if each.speaks),
        *_live_lines(seen),
        *_gap_lines(seen.standing.gaps if seen.standing else {}),
        *_proof_lines(seen),
        *_promise_lines(seen),
        *([f"cost        {tiers.line()}"] if tiers else []),
        *_backup_lines(seen),
        *(f"WRONG       {each}" for each in found if each.kind != "alert"),
        *([] if found else ["all is well"]),
    ]


def _ingest_line(report: IngestReport) -> str:
    status = report.status
    feeds = ", ".join(status["feeds"]) or "nothing yet"
    state = "drains" if status["draining"] else "runs"
    return (
        f"ingest      shard {report.shard}  {state}  pid {report.pid}  {feeds}  "
        f"lag: hot {status['hot_lag_ms'] / 1000:.1f} s, lake {status['lake_lag_ms'] / 1000:.1f} s"
    )


def _live_lines(seen: Seen) -> list[str]:
    speaking = [name for name, each in seen.live.items() if each.speaks]
    return [f"live        {', '.join(speaking)}  run"] if speaking else []


def _gap_lines(gaps: Mapping[tuple[str, str], int]) -> list[str]:
    if not gaps:
        return []
    texts = [f"{feed} {kind} {count:,}" for (feed, kind), count in gaps.items()]
    return [f"gaps open   {', '.join(texts)}"]


def _proof_lines(seen: Seen) -> list[str]:
    proof = seen.standing.proof if seen.standing else None
    if proof is None:
        return []
    word = "held" if proof.holds else f"{proof.lost:,} lost, {proof.duplicated:,} duplicated"
    return [f"verify      {word} at {proof.ran_at:%Y-%m-%d %H:%M} UTC"]


def _promises(seen: Seen) -> list[dict[str, Any]]:
    if seen.standing is None:
        return []
    shares = {(each.thing, each.promise): each.share for each in seen.standing.months}
    return [
        {
            **asdict(each.measured),
            "kept": each.measured.met,
            "watched": each.watched,
            "checked_at": each.checked_at,
            "month_share": shares.get((each.measured.thing, each.measured.promise)),
        }
        for each in seen.standing.promises
    ]


def _promise_lines(seen: Seen) -> list[str]:
    """Return the month's freshness of what is watched, in a line."""
    months = seen.standing.months if seen.standing else ()
    fresh = [f"{each.thing} {floor_percent(each.share)}" for each in months
             if each.promise == "freshness"]  # fmt: skip
    return [f"fresh       {', '.join(fresh)} of this month's minutes"] if fresh else []


def _backup_lines(seen: Seen) -> list[str]:
    backup = seen.standing.backup if seen.standing else None
    if backup is None:
        return []
    newest = f"newest {backup.newest_at:%Y-%m-%d %H:%M} UTC" if backup.newest_at else "none yet"
    behind = f"{backup.log_bytes_behind / 2**20:,.1f} MiB of log not there yet"
    return [f"backups     {backup.count} kept, {newest}, {behind}"]
