"""Metrics of the speed layer and the live service."""

from __future__ import annotations

from infra.watch.metric import SHARD, Metric

LIVE = (
    Metric("ticklake_live_up", "gauge", SHARD, "1 while the speed layer works on the shard."),
    Metric(
        "ticklake_live_tick_age_seconds", "gauge", SHARD, "Age of the newest frame it worked on."
    ),
    Metric(
        "ticklake_live_entries_total",
        "counter",
        ("shard", "fate"),
        "Entries of the shard's stream: applied, claimed of a worker before, lost to trimming, or"
        " set aside.",
    ),
    Metric(
        "ticklake_live_dropped_frames_total",
        "counter",
        ("shard", "kind"),
        "Frames that it was told were left out: quotes, or trades, which are all others.",
    ),
    Metric("ticklake_signals_up", "gauge", (), "1 while the models in use say that they run."),
    Metric("ticklake_sessions_up", "gauge", (), "1 while the strategies say that they run."),
    Metric("ticklake_service_up", "gauge", (), "1 while the live service says that it runs."),
    Metric(
        "ticklake_service_requests_total",
        "counter",
        ("method", "route", "status"),
        "Requests answered.",
    ),
    Metric(
        "ticklake_service_request_seconds",
        "histogram",
        ("route",),
        "Time from a request to its answer.",
    ),
    Metric("ticklake_service_clients", "gauge", (), "WebSocket clients now."),
    Metric("ticklake_service_subscriptions", "gauge", (), "Instruments that they hear of."),
    Metric("ticklake_service_clients_cut_total", "counter", (), "Clients cut for being slow."),
    Metric("ticklake_service_messages_total", "counter", (), "Messages sent to clients."),
    Metric("ticklake_service_updates_total", "counter", (), "Updates read of the speed layer."),
    Metric(
        "ticklake_service_update_age_seconds",
        "gauge",
        (),
        "From a frame's receipt to the service, of the newest update.",
    ),
    Metric("ticklake_service_stream_faults_total", "counter", (), "Times that Redis was away."),
    Metric(
        "ticklake_service_breaches_total",
        "counter",
        ("rule",),
        "Orders over HTTP that a limit refused, by rule.",
    ),
    Metric("ticklake_service_killed", "gauge", (), "1 while the kill switch stops trading."),
)
"""What the speed layer and the live service say of themselves; passed on by the exporter."""
