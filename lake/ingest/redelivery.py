"""Take each event once, however often and by whichever way it comes.

An event with a key (a venue's trade id, a quote's update id, an aggregate's bucket) is known by the
key of its instrument, over memory first and over the stores for what lies below memory; memory
forgets nothing that the stores do not have yet. An event
without a key is known by its content (see keyless). One that has not even the exchange's time is
taken from the connection that speaks for its feed: the one that has been up for longest; what
others bring of it is redelivery.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.feeds.codec import INDEX_BITS, Frames
from lake.ingest.keyless import BLOCK_FRAMES, Heard, Keyless, Said, block_of
from lake.ingest.seen_ids import ID_MAX, INTERVALS_MAX, Hole, SeenIds

Bool = npt.NDArray[np.bool_]
Int64 = npt.NDArray[np.int64]
AsText = Callable[[Int64], pl.DataFrame]

PLAIN_NUMBER = r"\A(0|[1-9][0-9]{0,13})\z"
"""A text that is how its number is written, and of no more digits than ID_MAX."""

High = Mapping[str, Mapping[str, int]]
OPAQUE_KEYS_MAX = 1_000_000
"""Keys that are no numbers, remembered since the start; a trim past it starts the memory afresh."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from: per row its connection and whether that speaks for the feed.

    connection: negative for a venue's history. blocks: the first and the last (inclusive) that the
    run's frames lie in, as keyless has them.
    """

    connection: npt.NDArray[np.int32]
    speaks: Bool
    blocks: tuple[int, int]


class StoredKeys(Protocol):
    """Look keys up in hot and lake."""

    def stored(self, dataset: str, keys: pl.DataFrame) -> Bool:
        """Tell which rows of keys (instrument, key, event_time) are stored already."""


@dataclass(frozen=True, slots=True)
class KeyRule:
    """How a dataset's rows are known: the instrument's columns, and the key as text.

    text: the column that is the key as it is, where there is one: that is quicker.
    """

    instrument: tuple[str, ...]
    key: pl.Expr
    text: str = ""

    def keys(self, rows: pa.Table) -> pl.DataFrame:
        """Return key and event_time of rows."""
        needed = sorted({*self.key.meta.root_names(), "event_time"})
        frame = pl.DataFrame(pl.from_arrow(rows.select(needed)))
        return frame.select(self.key.alias("key"), "event_time")


RULES: Mapping[str, KeyRule] = {
    "crypto_trades": KeyRule(("exchange", "market", "ticker"), pl.col("trade_id"), text="trade_id"),
    "crypto_quotes": KeyRule(
        ("exchange", "market", "ticker"), pl.col("venue_sequence").cast(pl.String)
    ),
    "crypto_aggregates": KeyRule(
        ("exchange", "market", "interval", "ticker"),
        (
            pl.col("event_time").dt.epoch("s")
            // pl.when(pl.col("interval") == "1m").then(60).otherwise(1)
        ).cast(pl.String),
    ),
    "market_sentiment": KeyRule(
        ("source", "asset"), pl.col("event_time").dt.epoch("us").cast(pl.String)
    ),
}


@dataclass(frozen=True, slots=True)
class Taken:
    """Rows that are new, in their order, and how many were not; holes above each known id."""

    rows: pa.Table
    duplicates: int
    holes: list[Hole]


class Redelivery:
    """What one shard has taken so far.

    high: dataset -> instrument -> largest numeric key stored, from the shard's state.
    intervals_max: of ids, that a trim leaves of a dataset.
    """

    def __init__(self, stores: StoredKeys, high: High, intervals_max: int = INTERVALS_MAX) -> None:
        self._stores = stores
        self._seen = {name: SeenIds(high.get(name), intervals_max=intervals_max) for name in RULES}
        self._opaque: set[tuple[str, str, str]] = set()
        self._keyless = {dataset: Keyless() for dataset in RULES}

    def recall(
        self, frames: Frames, decoded: Callable[[], Mapping[str, pa.Table]], *, at_hand: bool
    ) -> None:
        """Remember what was said in frames of one block that are stored already; decoded: their
        rows.

        at_hand: keep the frames until they are compared, not what a comparison needs of them.
        """
        connections = frozenset(np.unique(frames.connection[frames.connection >= 0]).tolist())
        for dataset, memory in self._keyless.items():
            rows = partial(_recalled, dataset, frames, decoded)
            said = Said(block_of(frames.last_frame), connections, rows)
            memory.remember(said)
            if not at_hand:
                said.hashes()

    def high(self) -> dict[str, dict[str, int]]:
        """Return what a restart needs to know."""
        return {dataset: seen.high() for dataset, seen in self._seen.items() if seen.high()}

    def traded(self) -> list[str]:
        """Return the instruments of every trade taken so far, those without an id left out."""
        return list(self._seen["crypto_trades"].high())

    def covers(self, hole: Hole) -> bool:
        """Tell whether every trade id of a hole has come meanwhile."""
        return self._seen["crypto_trades"].covers(hole.instrument, hole.first, hole.last)

    @property
    def is_full(self) -> bool:
        """Tell whether a trim is due: more is remembered than is meant to stay."""
        many = len(self._opaque) > OPAQUE_KEYS_MAX
        return many or any(seen.is_full for seen in self._seen.values())

    def trim(self) -> None:
        """Forget keys beyond the limits; call it only when the stores have all that was taken."""
        if len(self._opaque) > OPAQUE_KEYS_MAX:
            self._opaque.clear()
        for seen in self._seen.values():
            seen.trim()

    def take(self, dataset: str, rows: pa.Table, source: Source, *, contiguous: bool) -> Taken:
        """Return the rows not taken before; rows are of one run, seq ascending.

        source: per row, where it comes from.
        contiguous: whether a jump in numeric keys is a hole.
        """
        if dataset not in RULES or not rows.num_rows:
            return Taken(rows, 0, [])
        keyed = _keyed(dataset, rows)
        keep = source.speaks.copy()
        if not keyed.has_key.all():
            said = known_by_content(rows, ~keyed.has_key, source.connection)
            if said.any():
                keep[said] = self._new_by_content(dataset, rows, said, source)
        holes: list[Hole] = []
        if keyed.has_key.any():
            fresh, holes = self._fresh(dataset, keyed, contiguous)
            keep = np.where(keyed.has_key, fresh, keep)
        if keep.all():
            return Taken(rows, 0, holes)
        return Taken(rows.filter(pa.array(keep)), int((~keep).sum()), holes)

    def _new_by_content(self, dataset: str, rows: pa.Table, said: Bool, source: Source) -> Bool:
        """Tell which of the rows that were said are new, block by block of the journal."""
        memory = self._keyless[dataset]
        first, last = source.blocks
        if first == last:
            return memory.take(heard(rows, said, source.connection, first), int(said.sum()))
        block = (rows["seq"].to_numpy() >> INDEX_BITS) // BLOCK_FRAMES
        parts = []
        for each in range(first, last + 1):
            within = said & (block == each)
            if within.any():
                heard_now = heard(rows, within, source.connection, each)
                parts.append(memory.take(heard_now, int(within.sum())))
        return np.concatenate(parts)

    def take_numbered(
        self, dataset: str, instruments: Sequence[str], ids: Int64, text: AsText
    ) -> Bool:
        """Tell which rows are new, and take them, where every one has a number as its key.

        instruments: per row, as the rule joins it; ids: 0..ID_MAX; text: see _Keyed.text. Quicker
        than take() for a few rows, which need not be Arrow's for that.
        """
        code = self._seen[dataset].code
        codes = np.asarray([code(name) for name in instruments], np.int64)
        return self._fresh_numbers(dataset, codes, ids, text, False)[0]

    def _fresh_numbers(
        self, dataset: str, codes: Int64, ids: Int64, text: AsText, contiguous: bool
    ) -> tuple[Bool, list[Hole]]:
        seen = self._seen[dataset]
        new = ~seen.seen(codes, ids)
        first = np.zeros(len(ids), np.bool_)
        first[np.unique(seen.keys(codes, ids), return_index=True)[1]] = True
        new &= first
        unsure = np.flatnonzero(new & seen.unknown(codes, ids))
        if len(unsure):
            new[unsure] = ~self._stores.stored(dataset, text(unsure))
        holes = seen.holes(codes[new], ids[new]) if contiguous else []
        seen.add(codes, ids)
        return new, holes

    def _fresh(self, dataset: str, keyed: _Keyed, contiguous: bool) -> tuple[Bool, list[Hole]]:
        seen = self._seen[dataset]
        at = np.flatnonzero(keyed.number >= 0)
        lookup = np.asarray([seen.code(name) for name in keyed.names], np.int64)
        codes, ids = lookup[keyed.instrument[at]], keyed.number[at]
        given = dataset, codes, ids, lambda unsure: keyed.text(at[unsure]), contiguous
        new, holes = self._fresh_numbers(*given)
        fresh = np.zeros(len(keyed.number), np.bool_)
        fresh[at] = new
        opaque = np.flatnonzero(keyed.has_key & (keyed.number < 0))
        if len(opaque):
            fresh[opaque] = self._fresh_opaque(dataset, keyed.text(opaque))
        return fresh, holes

    def _fresh_opaque(self, dataset: str, keys: pl.DataFrame) -> Bool:
        """Take keys that are no numbers: rare, so one by one."""
        stored = self._stores.stored(dataset, keys)
        fresh = np.zeros(len(keys), np.bool_)
        pairs = zip(keys["instrument"].to_list(), keys["key"].to_list(), strict=True)
        for i, (instrument, key) in enumerate(pairs):
            known = (dataset, instrument, key)
            fresh[i] = not stored[i] and known not in self._opaque
            self._opaque.add(known)
        return fresh


@dataclass(frozen=True, slots=True)
class _Keyed:
    """Per row: instrument (index into names), and key as a number (-1: it is none)."""

    rule: KeyRule
    rows: pa.Table
    names: list[str]
    instrument: npt.NDArray[np.int64]
    number: npt.NDArray[np.int64]
    has_key: Bool

    def text(self, at: npt.NDArray[np.int64]) -> pl.DataFrame:
        """Return the rows at these places as the stores look them up."""
        instrument = pl.Series("instrument", [self.names[i] for i in self.instrument[at].tolist()])
        return self.rule.keys(self.rows.take(pa.array(at))).select(instrument, "key", "event_time")


def known_by_content(rows: pa.Table, keyless: Bool, connection: npt.NDArray[np.int32]) -> Bool:
    """Tell which of the keyless rows a connection said, with the exchange's time."""
    told = keyless & (connection >= 0)
    if "event_time_source" in rows.column_names:
        told &= pc.equal(rows["event_time_source"], "exchange").to_numpy()
    return told


def heard(rows: pa.Table, which: Bool, connection: npt.NDArray[np.int32], block: int) -> Said:
    """Return these of the rows as said in a block."""
    chosen = (rows if which.all() else rows.filter(pa.array(which))), connection[which]
    return Said(block, frozenset(np.unique(chosen[1]).tolist()), lambda: chosen)


def _recalled(dataset: str, frames: Frames, decoded: Callable[[], Mapping[str, pa.Table]]) -> Heard:
    rows = decoded().get(dataset)
    if rows is None or not rows.num_rows:
        return arrow_schema(load(dataset)).empty_table(), np.zeros(0, np.int32)
    connection = frames.connection[frame_index(rows, frames)]
    which = known_by_content(rows, ~_keyed(dataset, rows).has_key, connection)
    return rows.filter(pa.array(which)), connection[which]


def frame_index(rows: pa.Table, frames: Frames) -> npt.NDArray[np.int64]:
    """Return each row's place among its run's frames."""
    index: npt.NDArray[np.int64] = (rows["seq"].to_numpy() >> INDEX_BITS) - frames.first_frame
    return index


def _keyed(dataset: str, rows: pa.Table) -> _Keyed:
    rule = RULES[dataset]
    joined = pc.binary_join_element_wise(*(rows[name] for name in rule.instrument), "|")
    encoded = joined.combine_chunks().dictionary_encode()
    number, has_key = _numbers(rule, rows)
    codes = encoded.indices.to_numpy().astype(np.int64)
    return _Keyed(rule, rows, encoded.dictionary.to_pylist(), codes, number, has_key)


def _numbers(rule: KeyRule, rows: pa.Table) -> tuple[npt.NDArray[np.int64], Bool]:
    """Return each key as a number, -1 where it is none, and which rows have a key."""
    if rule.text:
        key = rows[rule.text]
        plain = pc.fill_null(pc.match_substring_regex(key, PLAIN_NUMBER), False)
        number = pc.if_else(plain, key, "-1").cast(pa.int64()).to_numpy()
        return np.where(number <= ID_MAX, number, -1), pc.is_valid(key).to_numpy()
    found = rule.keys(rows).select("key")
    number = pl.col("key").cast(pl.Int64, strict=False)
    exact = (number.cast(pl.String) == pl.col("key")) & number.is_between(0, ID_MAX)
    numbers = found.select(pl.when(exact).then(number).otherwise(-1).fill_null(-1)).to_series()
    return numbers.to_numpy(), found["key"].is_not_null().to_numpy()
