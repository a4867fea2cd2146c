"""Rows of features with the time from which each was known: what a change of bars adds.

A live row is available when the last frame that its window is made of had reached our socket, and
not before its bar's end. A bar of imported history (`feature_repo.arrival`) stands for one that
came as bars promise, its end and their contract's latency. Once a live row is there, a bar's later
rows are live ones: what a late tick changes was not known before the tick.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from feature_repo.arrival import is_history, promised_us
from feature_repo.compute import TIME, ends_of, features_of, series_starts
from feature_repo.feature_set import FeatureSet
from feature_repo.kernels import rolling_max
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.in_memory import ARROW_ROWS, in_memory

SERIES = ("ticker", "exchange", "market", "interval")
KEY_LIST = 'ticker, exchange, market, "interval", event_time'


def latency_us(feature_set: FeatureSet) -> int:
    """Return how long after their end the set's rows are there, by the contracts they rest on."""
    return promised_us(feature_set.sources)


def computed(bars: pa.Table, feature_set: FeatureSet) -> pa.Table:
    """Return the features of bars as features_of does, and both times at which each may be known.

    live_time: of a live row; history_time: of one of history, null where the bar came in time.
    """
    rows = features_of(bars, feature_set)
    ends = ends_of(bars)
    received = bars["received_time"].cast(TIME).cast(pa.int64()).to_numpy()
    late = is_history(ends, received)
    all_there, live_there = np.empty_like(ends), np.empty_like(ends)
    starts = series_starts(bars)
    for first, last in zip(starts, np.append(starts, bars.num_rows)[1:], strict=True):
        part = slice(first, last)
        all_there[part] = rolling_max(received[part], feature_set.lookback)
        in_time = np.where(late[part], 0, received[part])
        live_there[part] = rolling_max(in_time, feature_set.lookback)
    live = pa.array(np.maximum(ends, all_there)).cast(TIME)
    history = pa.array(np.maximum(ends + latency_us(feature_set), live_there), mask=~late).cast(
        TIME
    )
    return rows.append_column("live_time", live).append_column("history_time", history)


def new_versions(
    rows: pa.Table, held: pa.Table, spans: pa.Table, feature_set: FeatureSet, now_us: int
) -> pa.Table:
    """Return what to add to the set's table: rows that are not held as they are.

    rows: of `computed`; held: rows of the table, every version of the bars concerned; spans: series
    with first_us and last_us, the ends of the bars that may have gone: where a held one has no row
    any more, one without values says so. now_us: recorded_time, microseconds since the epoch.
    """
    names = [f'"{name}"' for name in feature_set.names]
    differs = " OR ".join(f"r.{name} IS DISTINCT FROM h.{name}" for name in names)
    schema = arrow_schema(load(feature_set.dataset))
    columns = {
        "recorded_time": "make_timestamp($now)::TIMESTAMPTZ",
        "set_version": str(feature_set.version),
    }
    select = ", ".join(f'{columns.get(n, f"{chr(34)}{n}{chr(34)}")} AS "{n}"' for n in schema.names)
    there = " OR ".join(f"h.{name} IS NOT NULL" for name in names)
    with in_memory() as connection:
        for name, table in (("computed", rows), ("held", held), ("spans", spans)):
            connection.register(name, table)
        found = connection.execute(
            f"""
            WITH newest AS (
                SELECT *, bool_or(arrival = 'live') OVER (PARTITION BY {KEY_LIST}) AS was_live,
                    max(available_time) FILTER (arrival = 'live')
                        OVER (PARTITION BY {KEY_LIST}) AS live_since
                FROM held WHERE set_version = {feature_set.version}
                QUALIFY row_number() OVER (PARTITION BY {KEY_LIST}
                    ORDER BY available_time DESC, recorded_time DESC) = 1),
            changed AS (
                SELECT r.*, h.live_since,
                    CASE WHEN r.history_time IS NULL OR coalesce(h.was_live, false)
                        THEN 'live' ELSE 'history' END AS arrival
                FROM computed AS r LEFT JOIN newest AS h USING ({KEY_LIST})
                WHERE h.event_time IS NULL OR {differs}),
            timed AS (
                SELECT *, CASE WHEN arrival = 'history' THEN history_time
                    -- not by a tick, then: known from now on
                    WHEN live_time <= live_since THEN make_timestamp($now)::TIMESTAMPTZ
                    ELSE live_time END AS available_time
                FROM changed),
            gone AS (
                SELECT h.* REPLACE (make_timestamp($now)::TIMESTAMPTZ AS available_time,
                    'live' AS arrival, {", ".join(f"NULL::DOUBLE AS {name}" for name in names)})
                FROM newest AS h
                SEMI JOIN spans AS s ON {" AND ".join(f'h."{n}" = s."{n}"' for n in SERIES)}
                    AND epoch_us(h.event_time) BETWEEN s.first_us AND s.last_us
                ANTI JOIN computed AS r USING ({KEY_LIST})
                WHERE {there})
            SELECT {select} FROM timed UNION ALL SELECT {select} FROM gone ORDER BY ALL
            """,
            {"now": now_us},
        )
        return found.to_arrow_table(ARROW_ROWS).cast(schema)
