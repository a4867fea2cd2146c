"""What a worker begins with: the lake's bars, the trades they lack, and the last bars per series.

The bars are cut where the group last gave bars out, if the lake has gone further meanwhile: what it
closed since is then closed here too, and given out. Trades are those of the union view, through the
frame of the lake's bars; what came after is read from the journal and the stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from feature_repo.feature_set import FeatureSet
from lake.bars.changes import COLUMN_LIST
from lake.bars.kernel import DATASET, INTERVALS, MINUTE_US, WIDTHS_US
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.views.client import Client
from lake.views.union_view import last_seq
from serving.live.held_bars import KEPT_US
from serving.live.live_features import BEHIND
from serving.live.live_features import INTERVALS as WITH_FEATURES

SCHEMA = arrow_schema(load(DATASET))
TRADES = arrow_schema(load("crypto_trades"))
REACH = 4
"""Times the lookback, by the clock, in which the last bars of a series are looked for."""


@dataclass(frozen=True, slots=True)
class Seed:
    """closed_us: every bucket before it is closed in held and windows. through: the last frame of
    the shard whose trades are in held or waiting.
    """

    closed_us: int
    through: int
    held: pa.Table
    windows: pa.Table
    waiting: pa.Table


def nothing_before(closed_us: int) -> Seed:
    """Return what a worker begins with where there is nothing yet."""
    empty = SCHEMA.empty_table()
    return Seed(closed_us, 0, empty, empty, TRADES.empty_table())


def seed_of(
    client: Client, shard: int, given_us: int, feature_set: FeatureSet, now_us: int
) -> Seed:
    """Return what a shard's worker begins with.

    given_us: the time before which the group has given out every bar, 0 where it never has. Without
    bars in the lake it begins at now_us, with nothing.
    """
    client.refresh()
    snapshot = client.snapshots.get(DATASET)
    if snapshot is None or snapshot.snapshot_id is None:
        return nothing_before(now_us // MINUTE_US * MINUTE_US)
    closed_us = min(snapshot.closed_us, given_us or snapshot.closed_us)
    through = snapshot.through.get(shard, 0)
    return Seed(
        closed_us,
        through,
        client.arrow(_held(closed_us)).cast(SCHEMA),
        client.arrow(_windows(closed_us, feature_set)).cast(SCHEMA),
        client.arrow(
            f"FROM crypto_trades WHERE shard = {shard} AND seq <= {last_seq(through)}"
            f" AND event_time >= make_timestamp({closed_us})::TIMESTAMPTZ"
        ).cast(TRADES),
    )


def _held(closed_us: int) -> str:
    """Select the bars that a late trade may still change, or that make a longer one."""
    kept = " OR ".join(_between(name, closed_us - KEPT_US[name], closed_us) for name in INTERVALS)
    return f"SELECT {COLUMN_LIST} FROM lake.{DATASET} WHERE {kept}"


def _windows(closed_us: int, feature_set: FeatureSet) -> str:
    """Select the last bars of each series that features look back on."""
    rows = feature_set.lookback + BEHIND
    near = " OR ".join(
        _between(name, closed_us - REACH * rows * WIDTHS_US[name], closed_us)
        for name in WITH_FEATURES
    )
    return (
        f"SELECT {COLUMN_LIST} FROM lake.{DATASET} WHERE {near}"
        ' QUALIFY row_number() OVER (PARTITION BY ticker, exchange, market, "interval"'
        f" ORDER BY event_time DESC) <= {rows}"
    )


def _between(interval: str, first_us: int, closed_us: int) -> str:
    """Return the condition of bars of an interval that begin at or after first, and are closed."""
    last_us = closed_us - WIDTHS_US[interval]
    times = (f"make_timestamp({each})::TIMESTAMPTZ" for each in (max(0, first_us), last_us))
    first, last = times
    return f"(\"interval\" = '{interval}' AND event_time >= {first} AND event_time <= {last})"
