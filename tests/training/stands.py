"""Feature tables and probes by chance, and what must join, said once more row by row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from lake.training.feature_table import FeatureTable

Row = dict[str, Any]

NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TIME = pa.timestamp("us", tz="UTC")

VALUES = pa.schema(
    [
        ("ticker", pa.string()),
        ("exchange", pa.string()),
        ("event_time", TIME),
        ("available_time", TIME),
        ("recorded_time", TIME),
        ("one", pa.float64()),
        ("two", pa.float64()),
    ]
)
PROBES = pa.schema(
    [("ticker", pa.string()), ("exchange", pa.string()), ("at", TIME), ("label", pa.int64())]
)


def standing(at: datetime, probe: Row, rows: Sequence[Row], table: FeatureTable) -> Row:
    """Return the values of a table that stand at a probe's time, by the words of the promise."""
    event, available = table.event_time, table.available_time
    counting = [
        row
        for row in rows
        if all(row[key] == probe[key] for key in table.keys)
        and all(row[column] == value for column, value in table.fixed.items())
        and row[event] is not None
        and row[available] is not None
        and row[event] <= at
        and row[available] <= at
        and row[event] >= at - table.ttl
    ]
    if not counting:
        return dict.fromkeys(table.names)
    order = [event, available, *(["recorded_time"] if "recorded_time" in counting[0] else [])]
    newest = max(counting, key=lambda row: tuple(row[name] for name in order))
    return {table.prefix + column: newest[column] for column in table.columns}


def training_rows(
    probes: Sequence[Row], tables: Sequence[tuple[FeatureTable, Sequence[Row]]], time: str = "at"
) -> list[Row]:
    """Return the training set of these probes, in its order; time: their column of times."""
    made = []
    for number, probe in enumerate(probes):
        values = [standing(probe[time], probe, rows, table) for table, rows in tables]
        joined = {key: value for each in values for key, value in each.items()}
        made.append({**probe, "probe": number, **joined})
    return sorted(made, key=lambda row: (row["ticker"], row[time], row["probe"]))
