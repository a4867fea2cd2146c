"""Rows of labels with the time from which each was known: what a change of bars adds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_repo.arrival import known_us, promised_us
from feature_repo.kernels import lagged, rolling_sum
from feature_repo.kernels import log as log_of
from feature_repo.labels.forward import Labels, Series, forward_return, triple_barrier
from feature_repo.versions import KEY_LIST, SERIES
from lake.bars.kernel import WIDTHS_US
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.in_memory import in_memory

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

DATASET = "labels_market"
LATENCY_US = promised_us(("bars",))
US = pa.timestamp("us", "UTC")

HORIZONS = {"1m": 15, "5m": 12, "1h": 24, "1d": 5}
"""Interval -> bars that its labels look ahead: a quarter of an hour, an hour, a day, a week."""

DEAD_BAND = 0.0002
WIDTH_BARS = 30
BEFORE = WIDTH_BARS
"""Bars before the first labelled one that its barriers' width looks at."""

LABEL_KEY = f"{KEY_LIST}, label, horizon_bars"


@dataclass(frozen=True, slots=True)
class Changed:
    """Labels that a change of bars may have changed, and for which ends of bars: a row a series."""

    rows: pa.Table
    regions: pa.Table


def labelled(bars: pa.Table, spans: pa.Table) -> Changed:
    """Return the labels of bars of one interval that the changes within these spans concern.

    bars: by series and time, with `horizon + BEFORE` bars before each span and as many after it,
    where there are so many. spans: a row a series, first_us and last_us the starts of the first
    and last bar that changed, in microseconds since the epoch.
    """
    interval = spans["interval"][0].as_py()
    horizon = HORIZONS[interval]
    width_us = WIDTHS_US[interval]
    places = {tuple(key): n for n, key in enumerate(zip(*_keys(spans), strict=True))}
    first, last = (spans[name].to_numpy() for name in ("first_us", "last_us"))
    parts, regions = [], []
    for key, part in _series(bars):
        at = places.pop(key)
        start = part["event_time"].cast(pa.int64()).to_numpy()
        low = max(0, int(np.searchsorted(start, first[at])) - horizon)
        high = int(np.searchsorted(start, last[at], "right")) + BEFORE
        low_us = int(start[low]) if low < len(start) else int(first[at])
        high_us = max(int(last[at]), int(start[min(high, len(start)) - 1]))
        regions.append((*key, low_us + width_us, high_us + width_us))
        parts += [
            table.filter(pa.array((ends >= low_us + width_us) & (ends <= high_us + width_us)))
            for table, ends in _of_series(key, part, horizon, width_us)
        ]
    # series of which no bar is left
    regions += [
        (*key, int(first[at]) + width_us, int(last[at]) + width_us) for key, at in places.items()
    ]
    columns = [list(each) for each in zip(*regions, strict=True)] or [[] for _ in range(6)]
    names = (*SERIES, "first_us", "last_us")
    made = pa.concat_tables(parts) if parts else _schema().empty_table()
    return Changed(made, pa.table(dict(zip(names, columns, strict=True))))


def new_versions(changed: Changed, held: pa.Table, now_us: int) -> pa.Table:
    """Return what to add to labels_market: rows that are not held as they are.

    held: rows of the table, every version of the bars in the regions; where a held one has no row
    any more, one without a value says so. now_us: recorded_time, microseconds since the epoch.
    """
    schema = arrow_schema(load(DATASET))
    select = ", ".join(
        'make_timestamp($now)::TIMESTAMPTZ AS "recorded_time"'
        if name == "recorded_time"
        else f'"{name}"'
        for name in schema.names
    )
    with in_memory() as connection:
        connection.register("made", changed.rows)
        connection.register("held", held)
        found = connection.execute(
            f"""
            WITH newest AS (
                FROM held QUALIFY row_number() OVER (PARTITION BY {LABEL_KEY}
                    ORDER BY available_time DESC, recorded_time DESC) = 1),
            other AS (
                SELECT m.* REPLACE (CASE WHEN m.available_time <= n.available_time
                    -- not by a tick, then: known from now on
                    THEN greatest(make_timestamp($now)::TIMESTAMPTZ, m.label_end_time)
                    ELSE m.available_time END AS available_time)
                FROM made AS m LEFT JOIN newest AS n USING ({LABEL_KEY})
                WHERE n.event_time IS NULL OR m.label_end_time IS DISTINCT FROM n.label_end_time
                    OR m.label_value IS DISTINCT FROM n.label_value
                    OR m.label_side IS DISTINCT FROM n.label_side
                    OR m.width IS DISTINCT FROM n.width),
            gone AS (
                SELECT n.* REPLACE (make_timestamp($now)::TIMESTAMPTZ AS available_time,
                    NULL AS label_end_time, NULL AS label_value, NULL AS label_side, NULL AS width)
                FROM newest AS n ANTI JOIN made AS m USING ({LABEL_KEY})
                WHERE n.label_value IS NOT NULL)
            SELECT {select} FROM other UNION ALL SELECT {select} FROM gone ORDER BY ALL
            """,
            {"now": now_us},
        )
        return found.to_arrow_table().cast(schema)


def _of_series(
    key: tuple[str, ...], bars: pa.Table, horizon: int, width_us: int
) -> Iterator[tuple[pa.Table, Int64]]:
    """Yield the labels of one series, of each kind, and the ends of the bars that they are of."""
    end = bars["event_time"].cast(pa.int64()).to_numpy() + width_us
    received = bars["received_time"].cast(US).cast(pa.int64()).to_numpy()
    known = known_us(end, received, LATENCY_US)
    high, low, close = (
        bars[name].cast(pa.float64()).to_numpy() for name in ("high", "low", "close")
    )
    series = Series(end, known, high, low, close)
    width = barrier_width(close, horizon)
    forward = forward_return(series, horizon, dead_band=DEAD_BAND)
    yield _table(key, "forward", horizon, forward, end, None), end[forward.row]
    barrier = triple_barrier(series, horizon, np.nan_to_num(width))
    yield _table(key, "barrier", horizon, barrier, end, width), end[barrier.row]


def barrier_width(close: Float64, horizon: int) -> Float64:
    """Return how far barriers are: the volatility of WIDTH_BARS returns, for `horizon` bars.

    NaN before its bars are there. It is the feature realised_volatility_30 times the root.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        moves = log_of(close / lagged(close, 1))
    return np.asarray(np.sqrt(rolling_sum(moves * moves, WIDTH_BARS)) * np.sqrt(horizon))


def _table(
    key: tuple[str, ...],
    label: str,
    horizon: int,
    labels: Labels,
    end: Int64,
    width: Float64 | None,
) -> pa.Table:
    count = len(labels.row)
    wide = None if width is None else width[labels.row]
    columns = {name: pa.array([value] * count) for name, value in zip(SERIES, key, strict=True)}
    columns |= {
        "event_time": pa.array(end[labels.row], US),
        "available_time": pa.array(labels.available_us, US),
        "recorded_time": pa.nulls(count, US),
        "label": pa.array([label] * count),
        "horizon_bars": pa.array(np.full(count, horizon)),
        "label_end_time": pa.array(labels.end_us, US),
        "label_value": pa.array(labels.value),
        "label_side": pa.array(labels.side.astype(np.int64)),
        "width": pa.nulls(count, pa.float64()) if wide is None else pa.array(wide),
    }
    return pa.table(columns, schema=_schema())


def _schema() -> pa.Schema:
    """Return the table's, with recorded_time null: it is not made yet."""
    text, number = pa.string(), pa.int64()
    types = {
        "label_side": number,
        "horizon_bars": number,
        "label_value": pa.float64(),
        "width": pa.float64(),
    }
    names = (*SERIES, "event_time", "available_time", "recorded_time", "label", "horizon_bars")
    times = dict.fromkeys(("event_time", "available_time", "recorded_time", "label_end_time"), US)
    every = (*names, "label_end_time", "label_value", "label_side", "width")
    return pa.schema([(name, (types | times).get(name, text)) for name in every])


def _keys(table: pa.Table) -> list[list[str]]:
    return [table[name].to_pylist() for name in SERIES]


def _series(bars: pa.Table) -> Iterator[tuple[tuple[str, ...], pa.Table]]:
    """Yield each series' key and bars."""
    if not bars.num_rows:
        return
    changed = np.zeros(bars.num_rows, np.bool_)
    changed[0] = True
    for name in SERIES:
        codes = bars[name].cast(pa.string()).combine_chunks().dictionary_encode()
        numbers = codes.indices.to_numpy()
        changed[1:] |= numbers[1:] != numbers[:-1]
    starts = np.flatnonzero(changed)
    for start, end in zip(starts, [*starts[1:], bars.num_rows], strict=True):
        part = bars.slice(start, end - start)
        yield tuple(part[name][0].as_py() for name in SERIES), part
