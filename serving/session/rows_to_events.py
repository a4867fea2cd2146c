"""A shard's rows as events, in the order of the journal, each known when the session's clock is.

The clock is the time of receipt, which may step back; then it stands until the rows have caught up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.trading.market import Instrument, Quote, Trade
from feature_repo.trading.money import units_of
from feature_repo.trading.streams import times_of
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load

TRADES, QUOTES = "crypto_trades", "crypto_quotes"
SCHEMAS = {name: arrow_schema(load(name)) for name in (TRADES, QUOTES)}
AMOUNTS = {
    TRADES: ("price", "size"),
    QUOTES: ("bid_price", "bid_size", "ask_price", "ask_size"),
}

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Known:
    """Events in the order of seq, with seq and the time at which each was known.

    trades: the rows of trades, in that order, to make bars of.
    """

    seq: Ints
    known_us: Ints
    events: Sequence[Trade | Quote]
    trades: pa.Table


def events_of(tables: Mapping[str, pa.Table], clock_us: int, after_seq: int) -> Known:
    """Return the rows beyond a seq; clock_us: what the clock said before them."""
    found = {name: _rows(tables.get(name), name, after_seq) for name in (TRADES, QUOTES)}
    seqs = [found[name]["seq"].to_numpy() for name in found]
    received = [times_of(found[name]["received_time"]) for name in found]
    seq = np.concatenate(seqs)
    order = np.argsort(seq, kind="stable")
    known = np.maximum.accumulate(np.append([clock_us], np.concatenate(received)[order]))[1:]
    known_of_row = np.empty(len(seq), np.int64)
    known_of_row[order] = known
    trades = _events(found[TRADES], TRADES, known_of_row[: len(seqs[0])])
    quotes = _events(found[QUOTES], QUOTES, known_of_row[len(seqs[0]) :])
    events: list[Trade | Quote] = [*trades, *quotes]
    return Known(seq[order], known, [events[i] for i in order.tolist()], found[TRADES])


def _rows(rows: pa.Table | None, name: str, after_seq: int) -> pa.Table:
    if rows is None:
        return SCHEMAS[name].empty_table()
    later = pc.greater(rows["seq"], after_seq)
    return rows.cast(SCHEMAS[name]).filter(later).sort_by("seq")


def _events(rows: pa.Table, name: str, known_us: Ints) -> list[Trade | Quote]:
    if not rows.num_rows:
        return []
    instruments = _instruments(rows)
    times = times_of(rows["event_time"]).tolist()
    amounts = [units_of(rows[each], each).tolist() for each in AMOUNTS[name]]
    kind = Trade if name == TRADES else Quote
    made = zip(instruments, times, known_us.tolist(), *amounts, strict=True)
    return [kind(*each) for each in made]


def _instruments(rows: pa.Table) -> list[Instrument]:
    names = (rows[name].to_pylist() for name in ("ticker", "exchange", "market"))
    known: dict[tuple[str, str, str], Instrument] = {}
    return [known.setdefault(key, Instrument(*key)) for key in zip(*names, strict=True)]
