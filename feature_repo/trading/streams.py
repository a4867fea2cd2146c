"""Rows of the lake as events, and several streams of them as one, by the time they were known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import repeat
from operator import attrgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.arrival import known_us
from feature_repo.trading.market import Bar, Event, Funding, Instrument, Quote, Row, Trade
from feature_repo.trading.money import Units, units_of

BAR_COLUMNS = ("open", "high", "low", "close", "volume")


def times_of(column: pa.ChunkedArray) -> Units:
    """Return times as microseconds since the epoch."""
    found: Units = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    return found


def bars_of(rows: pa.Table, instrument: Instrument, width_us: int, delay_us: int) -> Iterator[Bar]:
    """Yield an instrument's bars that came in turn, each with the time at which it was known.

    rows: by event_time, as bars_in_turn takes them.
    """
    rows, known = bars_in_turn(rows, width_us, delay_us)
    starts = times_of(rows["event_time"])
    values = [units_of(rows[name], name).tolist() for name in BAR_COLUMNS]
    times = (starts.tolist(), (starts + width_us).tolist(), known.tolist())
    return map(Bar._make, zip(repeat(instrument), *times, *values, strict=False))


def bars_in_turn(rows: pa.Table, width_us: int, delay_us: int) -> tuple[pa.Table, Units]:
    """Return an instrument's bars without those that came after newer ones, and when each came.

    A bar is known delay_us after its end, and not before the last frame that it is made of had
    come, unless it is history (`feature_repo.arrival`). One that was known only after a newer bar
    is left out: its first version is not in the release, and whoever acted then had looked at the
    newer one. Live it is no other: a late trade of a closed bar gives no bar again.
    """
    ends = times_of(rows["event_time"]) + width_us
    known = known_us(ends, times_of(rows["received_time"]), delay_us, delay_us)
    in_turn = known <= np.minimum.accumulate(known[::-1])[::-1]
    if in_turn.all():
        return rows, known
    return rows.filter(pa.array(in_turn)), known[in_turn]


def quotes_of(rows: pa.Table, instrument: Instrument, promise_us: int) -> Iterator[Quote]:
    """Yield an instrument's quotes in the order in which they were known.

    Each is known when it was received; one of history promise_us after its time.
    """
    columns = ("bid_price", "bid_size", "ask_price", "ask_size")
    rows, *times = _as_known(rows, promise_us)
    values = [units_of(rows[name], name).tolist() for name in columns]
    return map(Quote._make, zip(repeat(instrument), *times, *values, strict=False))


def trades_of(rows: pa.Table, instrument: Instrument, promise_us: int) -> Iterator[Trade]:
    """Yield an instrument's trades, known and in order as quotes_of has them."""
    rows, *times = _as_known(rows, promise_us)
    values = [units_of(rows[name], name).tolist() for name in ("price", "size")]
    return map(Trade._make, zip(repeat(instrument), *times, *values, strict=False))


def fundings_of(rows: pa.Table, instrument: Instrument) -> Iterator[Funding]:
    """Yield an instrument's fundings; each is known when it is due."""
    times = times_of(rows["event_time"]).tolist()
    rates = units_of(rows["rate"], "rate").tolist()
    return map(Funding._make, zip(repeat(instrument), times, times, rates, strict=False))


def values_of(rows: pa.Table, instrument: Instrument, names: Sequence[str]) -> Iterator[Row]:
    """Yield an instrument's rows of features or predictions; a null value is left out.

    rows: event_time, available_time, and a column of numbers for each name.
    """
    events = times_of(rows["event_time"]).tolist()
    known = times_of(rows["available_time"]).tolist()
    columns = [rows[name].cast(pa.float64()).to_pylist() for name in names]
    for event_us, available_us, *values in zip(events, known, *columns, strict=True):
        there = {n: v for n, v in zip(names, values, strict=True) if v is not None}
        yield Row(instrument, event_us, available_us, there)


def merged(streams: Sequence[Iterable[Event]]) -> Iterator[Event]:
    """Return streams as one, by available_us; at one moment, in the order of the streams.

    Each stream is in that order itself.
    """
    if len(streams) == 1:
        return iter(streams[0])
    return merge(*streams, key=attrgetter("available_us"))


def of_instrument(rows: pa.Table, instrument: Instrument) -> pa.Table:
    """Return the rows of one instrument."""
    is_it = None
    for name in ("ticker", "exchange", "market"):
        equal = pc.equal(rows[name], getattr(instrument, name))
        is_it = equal if is_it is None else pc.and_(is_it, equal)
    return rows.filter(is_it)


def instruments_in(rows: pa.Table) -> list[Instrument]:
    """Return the instruments that rows are of, sorted."""
    names = ("ticker", "exchange", "market")
    found = rows.select(names).group_by(list(names)).aggregate([])
    return sorted(Instrument(*(str(each[name]) for name in names)) for each in found.to_pylist())


def _as_known(rows: pa.Table, promise_us: int) -> tuple[pa.Table, list[int], list[int]]:
    """Return rows by the time at which they were known, their own times, and those; of one moment
    in the rows' order."""
    events = times_of(rows["event_time"])
    known = known_us(events, times_of(rows["received_time"]), promise_us)
    if (np.diff(known) < 0).any():
        order = np.argsort(known, kind="stable")
        rows, events, known = rows.take(pa.array(order)), events[order], known[order]
    return rows, events.tolist(), known.tolist()
