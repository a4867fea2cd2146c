"""From what was seen to Prometheus' families of samples."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family

from infra.watch.metrics import BY_NAME
from infra.watch.seen import Seen
from infra.watch.wrong import KINDS, wrong
from lake.durations import BOUNDS_S
from lake.hot.promises import Promise
from lake.hot.slots import skew
from lake.hot.standing import Backfills, OrderAudit, Standing, Tiers
from lake.ingest.report import IngestReport

Labels = tuple[str, ...]

MEASURED: Mapping[Promise, str] = {
    "freshness": "ticklake_freshness_seconds",
    "completeness": "ticklake_completeness_ratio",
    "quality": "ticklake_quality_score_ratio",
}
"""What a promise was measured to be: its metric."""


class Samples:
    """Samples by metric; only metrics of the list are taken."""

    def __init__(self) -> None:
        self._found: defaultdict[str, list[tuple[Labels, Any]]] = defaultdict(list)

    def add(self, name: str, value: Any, *labels: object) -> None:
        """Add one sample: a number, or a histogram's document of lake.durations."""
        assert len(labels) == len(BY_NAME[name].labels), name
        self._found[name].append((tuple(map(str, labels)), value))

    def families(self) -> Iterator[Family]:
        """Yield the families in the order of the list."""
        for name, metric in BY_NAME.items():
            if name not in self._found:
                continue
            if metric.kind == "histogram":
                histogram = HistogramMetricFamily(name, metric.meaning, labels=metric.labels)
                for labels, value in self._found[name]:
                    histogram.add_metric(labels, _buckets(value["counts"]), value["sum_s"])
                yield histogram
                continue
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(name, metric.meaning, labels=metric.labels)
            for labels, value in self._found[name]:
                family.add_metric(labels, float(value))
            yield family


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    """Return the running totals by upper bound."""
    total = 0
    found = []
    for bound, count in zip([*map(str, BOUNDS_S), "+Inf"], counts, strict=True):
        total += count
        found.append((bound, float(total)))
    return found


def add_ingests(samples: Samples, reports: Iterable[IngestReport]) -> None:
    """Add what each ingest says of itself."""
    for report in reports:
        shard = report.shard
        samples.add("ticklake_ingest_up", report.speaks, shard)
        samples.add("ticklake_mover_up", report.mover_speaks, shard)
        samples.add("ticklake_ingest_report_age_seconds", report.age_s, shard)
        if report.fault is not None:
            samples.add("ticklake_ingest_ended", 1, shard, report.fault[0])
        _add_reader(samples, shard, report.status)
        _add_lags(samples, shard, report.status)
        if report.status.get("streams"):
            _add_streams(samples, shard, report.status["streams"])
        if report.status["mover"]:
            _add_mover(samples, shard, report.status["mover"])


def _add_reader(samples: Samples, shard: int, status: Mapping[str, Any]) -> None:
    samples.add("ticklake_intake_loop_delay_seconds", status["loop_delays"], shard)
    samples.add("ticklake_journal_flush_seconds", status["flushes"], shard)
    samples.add("ticklake_journal_lag_seconds", status["journal_lag_ms"] / 1000, shard)
    for feed, said in status["feeds"].items():
        samples.add("ticklake_intake_frames_total", said["frames"], shard, feed)
        samples.add("ticklake_intake_bytes_total", said["bytes"], shard, feed)
        paused_s = said["paused_ms"] / 1000
        samples.add("ticklake_intake_paused_seconds_total", paused_s, shard, feed)
        if said["last_us"]:
            heard_s = said["last_us"] / 1e6
            samples.add("ticklake_feed_last_heard_timestamp_seconds", heard_s, shard, feed)
        for name in ("reconnects", "gaps_opened", "gaps_closed"):
            samples.add(f"ticklake_feed_{name}_total", said[name], shard, feed)


def _add_lags(samples: Samples, shard: int, status: Mapping[str, Any]) -> None:
    for store in ("hot", "lake"):
        samples.add(f"ticklake_{store}_lag_seconds", status[f"{store}_lag_ms"] / 1000, shard)
        held = status["mover"].get(f"{store}_frame")
        if held is not None:
            behind = max(0, status["durable_frame"] - held)
            samples.add(f"ticklake_{store}_lag_frames", behind, shard)


def _add_streams(samples: Samples, shard: int, said: Mapping[str, int]) -> None:
    for fate in ("sent", "unheard", "dropped_quotes", "dropped_trades"):
        samples.add("ticklake_streams_frames_total", said[fate], shard, fate)
    samples.add("ticklake_streams_waiting_frames", said["waiting"], shard)
    samples.add("ticklake_streams_up", said["closed"], shard)
    samples.add("ticklake_streams_heard", said["heard"], shard)
    samples.add("ticklake_streams_faults_total", said["faults"], shard)


def _add_mover(samples: Samples, shard: int, mover: Mapping[str, Any]) -> None:
    samples.add("ticklake_mover_committer", mover["committer"], shard)
    samples.add("ticklake_batches_total", mover["batches"], shard)
    samples.add("ticklake_mover_waits", len(mover["waits"]), shard)
    samples.add("ticklake_lake_conflicts_total", mover["commits"]["conflicts"], shard)
    samples.add("ticklake_upkeep_merges_total", mover["merges"], shard)
    samples.add("ticklake_upkeep_files_removed_total", mover["files_removed"], shard)
    for store in ("hot", "lake"):
        samples.add("ticklake_mover_faults_total", mover[f"{store}_faults"], shard, store)
    for feed, fates in mover["fates"].items():
        for fate, count in fates.items():
            samples.add("ticklake_events_total", count, shard, feed, fate)
    for dataset, count in mover["rows"].items():
        samples.add("ticklake_rows_total", count, shard, dataset)
    for dataset, count in mover["commits"]["by_dataset"].items():
        samples.add("ticklake_lake_commits_total", count, shard, dataset)
    for stage, times in mover["stages"].items():
        samples.add("ticklake_stage_seconds", times, shard, stage)


def add_home(samples: Samples, seen: Seen) -> None:
    """Add what is seen of a home as a whole."""
    found = Counter(each.kind for each in wrong(seen))
    for kind in KINDS:
        samples.add("ticklake_wrong", found[kind], kind)
    for server, health in seen.servers.items():
        samples.add("ticklake_server_up", health.up, server)
        samples.add("ticklake_server_answer_seconds", health.answer_s, server)
    if seen.flows is not None:
        samples.add("ticklake_flows_up", seen.flows.up)
    for shard, journal in seen.journals.items():
        samples.add("ticklake_journal_bytes", journal.bytes, shard)
        samples.add("ticklake_journal_frame", journal.durable_frame, shard)
    if seen.disk is not None:
        samples.add("ticklake_journal_budget_bytes", seen.disk.budget)
        samples.add("ticklake_disk_free_bytes", seen.disk.free)
        samples.add("ticklake_disk_bytes", seen.disk.total)
    _add_hot(samples, seen)
    if seen.standing is not None and seen.standing.tiers is not None:
        _add_tiers(samples, seen.standing.tiers)
    for dataset, size in seen.sizes.items():
        for name in ("files", "bytes", "rows", "snapshots"):
            samples.add(f"ticklake_lake_{name}", getattr(size, name), dataset)


def _add_promises(samples: Samples, standing: Standing) -> None:
    for each in standing.promises:
        measured = each.measured
        samples.add(MEASURED[measured.promise], measured.value, measured.thing)
        if each.watched:
            samples.add("ticklake_promise_kept", measured.met, measured.thing, measured.promise)
    for month in standing.months:
        samples.add("ticklake_promise_month_ratio", month.share, month.thing, month.promise)
    if standing.backup is not None:
        samples.add("ticklake_backups", standing.backup.count)
        samples.add("ticklake_backup_log_behind_bytes", standing.backup.log_bytes_behind)
        if standing.backup.age_s is not None:
            samples.add("ticklake_backup_age_seconds", standing.backup.age_s)
    _add_backfills(samples, standing.backfills)
    for late in standing.waiting:
        samples.add("ticklake_notices_waiting", late.waiting, late.receiver)
        samples.add("ticklake_notices_given_up", late.given_up, late.receiver)


def _add_hot(samples: Samples, seen: Seen) -> None:
    if seen.hot is not None:
        samples.add("ticklake_alerts_open", len(seen.hot.alerts))
        for dataset, slots in seen.hot.slots.items():
            samples.add("ticklake_slot_skew_ratio", skew(slots), dataset)
            for slot, rows in slots.items():
                samples.add("ticklake_slot_rows", rows, dataset, slot)
    standing = seen.standing
    if standing is None:
        return
    samples.add("ticklake_hot_bytes", standing.bytes)
    for name, frames in (("hot", standing.frames), ("lake", standing.marks)):
        for shard, frame in frames.items():
            samples.add(f"ticklake_{name}_frame", frame, shard)
    _add_promises(samples, standing)
    for lease, epoch in standing.epochs.items():
        samples.add("ticklake_lease_epoch", epoch, lease)
    for (feed, kind), count in standing.gaps.items():
        samples.add("ticklake_feed_gaps_open", count, feed, kind)
    proof = standing.proof
    if proof is not None:
        samples.add("ticklake_verify_holds", proof.holds)
        samples.add("ticklake_verify_timestamp_seconds", proof.ran_at.timestamp())
        samples.add("ticklake_verify_duration_seconds", proof.took_ms / 1000)
        samples.add("ticklake_verify_lost_rows", proof.lost)
        samples.add("ticklake_verify_duplicated_rows", proof.duplicated)
    _add_order_audit(samples, standing.order_audit)


def _add_order_audit(samples: Samples, audit: OrderAudit | None) -> None:
    if audit is not None:
        samples.add("ticklake_order_audit_holds", audit.holds)
        samples.add("ticklake_order_audit_coverage_ratio", audit.percent / 100)
        samples.add("ticklake_order_audit_timestamp_seconds", audit.ran_at.timestamp())


def _add_backfills(samples: Samples, found: Backfills) -> None:
    for state in ("under_way", "done"):
        samples.add("ticklake_backfills", getattr(found, state), state)
    for fate in ("given", "contradicting", "refused"):
        samples.add("ticklake_backfill_rows", getattr(found, fate), fate)


def _add_tiers(samples: Samples, tiers: Tiers) -> None:
    for (tier, dataset), size in tiers.bytes.items():
        samples.add("ticklake_tier_bytes", size, tier, dataset)
    for tier, dollars in tiers.dollars.items():
        samples.add("ticklake_tier_dollars_per_month", dollars, tier)
    samples.add("ticklake_cost_modelled_dollars_per_month", tiers.modelled)
    samples.add("ticklake_cost_budget_dollars_per_month", tiers.budget)
