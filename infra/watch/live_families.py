"""From what the live half says of itself to Prometheus' families."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from infra.watch.families import Samples
from infra.watch.metrics import BY_NAME
from lake.clock import Clock
from serving.live.report import SERVICE, SESSIONS, SIGNALS, WORKER, read_report

BESIDE = {SIGNALS: "ticklake_signals_up", SESSIONS: "ticklake_sessions_up"}
KNOWN = frozenset(name for each in BY_NAME.values() for name in each.sample_names)


def add_live(samples: Samples, home: Path, clock: Clock) -> None:
    """Add whether service and workers are up, and what workers have done."""
    service = read_report(home, SERVICE, clock)
    if service is not None:
        samples.add("ticklake_service_up", service.speaks)
    for name, metric in BESIDE.items():
        said = read_report(home, name, clock)
        if said is not None:
            samples.add(metric, said.speaks)
    worker = read_report(home, WORKER, clock)
    for shard, said in (worker.said.get("shards", {}) if worker else {}).items():
        assert worker is not None
        samples.add("ticklake_live_up", worker.speaks, shard)
        age_s = max(0.0, (clock.now_us() - said["received_us"]) / 1e6)
        samples.add("ticklake_live_tick_age_seconds", age_s, shard)
        for fate in ("applied", "claimed", "lost", "aside"):
            samples.add("ticklake_live_entries_total", said[fate], shard, fate)
        for kind, count in said["drops"].items():
            samples.add("ticklake_live_dropped_frames_total", count, shard, kind)


def service_families(home: Path, clock: Clock) -> Iterator[Family]:
    """Yield what the service counts, as it gives it itself."""
    service = read_report(home, SERVICE, clock)
    for family in text_string_to_metric_families(service.said["text"]) if service else ():
        family.samples = [each for each in family.samples if each.name in KNOWN]
        if family.samples:
            yield family
