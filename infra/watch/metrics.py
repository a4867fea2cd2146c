"""Every metric: its name, kind, labels and meaning; the one list that code and pages go by.

Names follow Prometheus: base units, the unit last, counters end in _total.
"""

from __future__ import annotations

from collections.abc import Iterator

from infra.watch.live_metrics import LIVE
from infra.watch.metric import FEED, SHARD, Metric

INGEST = (
    Metric("ticklake_ingest_up", "gauge", SHARD, "1 while the ingest says that it runs."),
    Metric("ticklake_mover_up", "gauge", SHARD, "1 while the ingest's mover says that it runs."),
    Metric(
        "ticklake_mover_committer", "gauge", SHARD, "1 where this mover commits for all shards."
    ),
    Metric(
        "ticklake_ingest_report_age_seconds", "gauge", SHARD, "Time since the ingest spoke last."
    ),
    Metric("ticklake_intake_frames_total", "counter", FEED, "Frames taken in."),
    Metric("ticklake_intake_bytes_total", "counter", FEED, "Bytes of frames taken in."),
    Metric(
        "ticklake_intake_paused_seconds_total",
        "counter",
        FEED,
        "Time in which the socket was not read, since the journal was behind.",
    ),
    Metric(
        "ticklake_intake_loop_delay_seconds",
        "histogram",
        SHARD,
        "How late the socket reader's loop came to a flush in turn: the pause that a socket feels.",
    ),
    Metric(
        "ticklake_streams_frames_total",
        "counter",
        ("shard", "fate"),
        "Frames on their way to Redis Streams: sent, unheard (nobody read them), dropped_quotes, or"
        " dropped_trades, which are all others.",
    ),
    Metric("ticklake_streams_waiting_frames", "gauge", SHARD, "Frames that wait for Redis."),
    Metric(
        "ticklake_streams_up",
        "gauge",
        SHARD,
        "1 while frames go to Redis; 0 while it is left alone, or another owns the shard.",
    ),
    Metric(
        "ticklake_streams_heard",
        "gauge",
        SHARD,
        "1 while frames are sent: somebody reads them, or TICKLAKE_STREAMS says so.",
    ),
    Metric("ticklake_streams_faults_total", "counter", SHARD, "Round trips to Redis that failed."),
    Metric(
        "ticklake_journal_flush_seconds",
        "histogram",
        SHARD,
        "Write and fsync of one flush of the journal.",
    ),
    Metric("ticklake_journal_lag_seconds", "gauge", SHARD, "Age of a flush's oldest frame."),
    Metric(
        "ticklake_feed_last_heard_timestamp_seconds", "gauge", FEED, "When the feed last spoke."
    ),
    Metric("ticklake_feed_reconnects_total", "counter", FEED, "Connections made again."),
    Metric("ticklake_feed_gaps_opened_total", "counter", FEED, "Gaps that the reader opened."),
    Metric("ticklake_feed_gaps_closed_total", "counter", FEED, "Gaps that the reader closed."),
    Metric(
        "ticklake_events_total",
        "counter",
        ("shard", "feed", "fate"),
        "Events whose batch the hot tier has committed, by what became of them.",
    ),
    Metric(
        "ticklake_rows_total", "counter", ("shard", "dataset"), "Rows committed to the hot tier."
    ),
    Metric("ticklake_batches_total", "counter", SHARD, "Micro-batches committed to the hot tier."),
    Metric(
        "ticklake_stage_seconds",
        "histogram",
        ("shard", "stage"),
        "Time of one pass of a stage of the mover.",
    ),
    Metric(
        "ticklake_hot_lag_seconds",
        "gauge",
        SHARD,
        "Age of the oldest durable frame that the hot tier does not hold.",
    ),
    Metric(
        "ticklake_lake_lag_seconds",
        "gauge",
        SHARD,
        "Age of the oldest durable frame that the lake does not hold.",
    ),
    Metric(
        "ticklake_hot_lag_frames", "gauge", SHARD, "Durable frames that the hot tier does not hold."
    ),
    Metric("ticklake_lake_lag_frames", "gauge", SHARD, "Durable frames that the lake lacks."),
    Metric(
        "ticklake_mover_faults_total",
        "counter",
        ("shard", "store"),
        "Times that a store was not there and was tried again.",
    ),
    Metric(
        "ticklake_mover_waits", "gauge", SHARD, "Threads of the mover that wait for a server now."
    ),
    Metric("ticklake_lake_commits_total", "counter", ("shard", "dataset"), "Commits to the lake."),
    Metric(
        "ticklake_lake_conflicts_total", "counter", SHARD, "Commits begun anew after a lost race."
    ),
    Metric("ticklake_upkeep_merges_total", "counter", SHARD, "Groups of small files merged."),
    Metric("ticklake_upkeep_files_removed_total", "counter", SHARD, "Files removed for good."),
    Metric(
        "ticklake_ingest_ended",
        "gauge",
        ("shard", "kind"),
        "1 where the last ingest ended by a fault; kind is the error, Fenced among them.",
    ),
)
"""What a process says of itself; the exporter passes it on for every ingest of the home."""

HOME = (
    Metric("ticklake_wrong", "gauge", ("kind",), "Things that are wrong, as `ticklake status`."),
    Metric("ticklake_server_up", "gauge", ("server",), "1 while the server answers."),
    Metric(
        "ticklake_server_answer_seconds", "gauge", ("server",), "Time of its last answer, or wait."
    ),
    Metric(
        "ticklake_flows_up",
        "gauge",
        (),
        "1 while the process of bars, promises and alerts runs and its watch turns.",
    ),
    Metric("ticklake_journal_bytes", "gauge", SHARD, "Bytes of the shard's journal on disk."),
    Metric("ticklake_journal_budget_bytes", "gauge", (), "Bytes that one journal may use."),
    Metric("ticklake_disk_free_bytes", "gauge", (), "Bytes free on the journals' disk."),
    Metric("ticklake_disk_bytes", "gauge", (), "Bytes of the journals' disk."),
    Metric("ticklake_journal_frame", "gauge", SHARD, "Last durable frame of the journal."),
    Metric("ticklake_hot_frame", "gauge", SHARD, "Last frame in the hot tier."),
    Metric("ticklake_lake_frame", "gauge", SHARD, "Last frame of the lake's newest commit."),
    Metric(
        "ticklake_lease_epoch", "gauge", ("lease",), "Fencing epoch: it grows with every new owner."
    ),
    Metric("ticklake_hot_bytes", "gauge", (), "Bytes of the hot tier's database."),
    Metric(
        "ticklake_slot_rows", "gauge", ("dataset", "slot"), "Rows of the newest day by its slots."
    ),
    Metric(
        "ticklake_slot_skew_ratio",
        "gauge",
        ("dataset",),
        "Fullest slot's rows over the mean of the newest day's slots; 1 is even.",
    ),
    Metric("ticklake_feed_gaps_open", "gauge", ("feed", "kind"), "Gaps in the book still open."),
    Metric("ticklake_alerts_open", "gauge", (), "Open alerts."),
    Metric(
        "ticklake_freshness_seconds",
        "gauge",
        ("dataset",),
        "Age of the newest event when it was last measured.",
    ),
    Metric(
        "ticklake_completeness_ratio",
        "gauge",
        ("feed",),
        "Part of an hour that was free of gaps when it was last measured.",
    ),
    Metric(
        "ticklake_quality_score_ratio",
        "gauge",
        ("dataset",),
        "Part of the dataset's rules that held at their newest run.",
    ),
    Metric(
        "ticklake_promise_kept",
        "gauge",
        ("thing", "promise"),
        "1 where the promise held when it was last measured.",
    ),
    Metric(
        "ticklake_promise_month_ratio",
        "gauge",
        ("thing", "promise"),
        "Part of this month's minutes looked at in which it held.",
    ),
    Metric("ticklake_backups", "gauge", (), "Base backups there are; none where they are off."),
    Metric("ticklake_backup_age_seconds", "gauge", (), "Time since the newest base backup ended."),
    Metric(
        "ticklake_backup_log_behind_bytes",
        "gauge",
        (),
        "Bytes of the database's log that are not yet where backups rest.",
    ),
    Metric("ticklake_notices_waiting", "gauge", ("receiver",), "Notices that did not arrive yet."),
    Metric(
        "ticklake_notices_given_up",
        "gauge",
        ("receiver",),
        "Notices of open incidents that no further try is made for.",
    ),
    Metric(
        "ticklake_backfills",
        "gauge",
        ("state",),
        "What was asked of histories and files, under way or done.",
    ),
    Metric(
        "ticklake_backfill_rows",
        "gauge",
        ("fate",),
        "Rows that these gave, and of them those in quarantine: contradicting, refused.",
    ),
    Metric("ticklake_lake_files", "gauge", ("dataset",), "Data files of the table's head."),
    Metric("ticklake_lake_bytes", "gauge", ("dataset",), "Bytes of these files."),
    Metric("ticklake_lake_rows", "gauge", ("dataset",), "Rows of these files."),
    Metric("ticklake_lake_snapshots", "gauge", ("dataset",), "Snapshots that are kept."),
    Metric(
        "ticklake_tier_bytes",
        "gauge",
        ("tier", "dataset"),
        "Bytes of a tier, measured when retention last ran.",
    ),
    Metric(
        "ticklake_tier_dollars_per_month",
        "gauge",
        ("tier",),
        "What these bytes cost by the home's assumptions.",
    ),
    Metric(
        "ticklake_cost_modelled_dollars_per_month",
        "gauge",
        (),
        "What the rate of the day before costs in the long run, storage and compute.",
    ),
    Metric("ticklake_cost_budget_dollars_per_month", "gauge", (), "What it may cost."),
    Metric("ticklake_verify_holds", "gauge", (), "1 where the last `verify` found no fault."),
    Metric("ticklake_verify_timestamp_seconds", "gauge", (), "When `verify` last ran."),
    Metric("ticklake_verify_duration_seconds", "gauge", (), "How long it took."),
    Metric("ticklake_verify_lost_rows", "gauge", (), "Rows that it missed."),
    Metric("ticklake_verify_duplicated_rows", "gauge", (), "Rows that it found twice."),
    Metric(
        "ticklake_order_audit_holds",
        "gauge",
        (),
        "1 where the last audit of orders found no fault.",
    ),
    Metric(
        "ticklake_order_audit_coverage_ratio",
        "gauge",
        (),
        "Part of orders, fills and positions that it traced to their events.",
    ),
    Metric("ticklake_order_audit_timestamp_seconds", "gauge", (), "When it was made."),
    Metric("ticklake_look_age_seconds", "gauge", ("look",), "Time since the exporter looked."),
    Metric("ticklake_look_seconds", "gauge", ("look",), "How long its last look took."),
)
"""What the exporter sees of a home as a whole."""

BY_NAME = {each.name: each for each in (*INGEST, *HOME, *LIVE)}


def markdown() -> Iterator[str]:
    """Yield the page infra/METRICS.md, line by line."""
    yield "# Metrics"
    yield ""
    yield "Made by `ticklake metrics --list`; a test holds the two equal."
    parts = (
        ("Of each ingest and its mover", INGEST),
        ("Of the home, by the exporter", HOME),
        ("Of the speed layer and the live service", LIVE),
    )
    for title, metrics in parts:
        yield from ("", f"## {title}", "")
        yield "| metric | kind | labels | meaning |"
        yield "|---|---|---|---|"
        for each in metrics:
            labels = ", ".join(each.labels) or "-"
            yield f"| `{each.name}` | {each.kind} | {labels} | {each.meaning} |"
