"""Entries of a stream as rows, each event once, by the codecs and the rules of the lake.

A few frames are decoded frame by frame, which costs microseconds each; a column decoder costs
milliseconds whatever it is given. Both give the same rows for the same frames (tests/feeds). Who
asks soon() is given the rows of a few plain frames before they are Arrow's, which costs more than
all the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from lake.feeds.binance import BinanceCodec
from lake.feeds.codec import Codec, Decoded, Frames
from lake.feeds.massive_lists import MassiveLists
from lake.feeds.plain import Plain
from lake.ingest.codecs import codecs
from lake.ingest.control import HISTORY_CONNECTION
from lake.ingest.keyless import block_of
from lake.ingest.redelivery import RULES, Redelivery, Source, frame_index
from lake.ingest.seen_ids import ID_MAX

Int64 = npt.NDArray[np.int64]
NO_IDS = np.zeros(0, np.int64)
TRADES, QUOTES = "crypto_trades", "crypto_quotes"
ID_DIGITS_MAX = len(str(ID_MAX))
FEW_FRAMES = {"massive": 1_000, "sim": 1_000}
FEW_FRAMES_ELSE = 250
"""Frames up to which one at a time is quicker than by the column."""

INTERVALS_MAX = 500_000
"""Intervals of ids that are remembered of a dataset, 8 MB; then the lower half is forgotten. Ids
that a venue counts are a few intervals, however many they are. Of ids with a hole after each, these
are minutes of a busy shard; what comes again comes sooner."""


class NothingStored:
    """Stands for the stores, which are not asked here: what memory does not know is new."""

    def stored(self, dataset: str, keys: pl.DataFrame) -> npt.NDArray[np.bool_]:
        """Say that none is."""
        return np.zeros(len(keys), np.bool_)


@dataclass
class LiveRows:
    """Rows by dataset, as the lake will have them, and what became of the rest, in events."""

    tables: dict[str, pa.Table] = field(default_factory=dict)
    duplicates: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class SoonRows:
    """New rows by dataset, either way; no dataset is in both."""

    plain: Mapping[str, Plain]
    tables: Mapping[str, pa.Table]


class Once:
    """Decodes one shard's frames; each event is taken once.

    exact: compare quotes by content whatever there is to compare with, as the lake does: it costs a
    millisecond a run, and gives the rows of the lake.
    intervals_max: of ids; an event that comes again after its id was forgotten is taken again.
    """

    def __init__(self, *, exact: bool = False, intervals_max: int = INTERVALS_MAX) -> None:
        self._exact = exact
        self._columns = codecs()
        self._lists = {feed: MassiveLists(feed) for feed in ("massive", "sim")}
        self._few: dict[str, Codec] = {
            **self._lists,
            **{f"binance.{market}": BinanceCodec(market) for market in ("spot", "usdm", "coinm")},
        }
        self._redelivery = Redelivery(NothingStored(), {}, intervals_max=intervals_max)
        self._connections: defaultdict[str, set[int]] = defaultdict(set)

    def take(self, runs: Iterable[tuple[str, Frames]]) -> LiveRows:
        """Return the new rows of runs of frames, each with its feed, in the order of the journal.

        A frame that no codec knows is the journal's to keep: here it is passed over.
        """
        found = LiveRows()
        parts: defaultdict[str, list[pa.Table]] = defaultdict(list)
        for feed, frames in runs:
            codec = self._codec(feed, len(frames))
            if codec is None:
                continue
            self._sift(feed, frames, codec.decode(frames), found, parts)
            self._forget()
        found.tables = {name: pa.concat_tables(each) for name, each in parts.items()}
        return found

    def soon(self, feed: str, frames: Frames) -> SoonRows:
        """Return the new rows of one run, where they can be before they are Arrow's."""
        codec = self._lists.get(feed)
        if codec is None or self._exact or len(frames) > FEW_FRAMES[feed]:
            return SoonRows({}, self.take([(feed, frames)]).tables)
        rows, rest = codec.plain(frames)
        trades, quotes = rows.get(TRADES), rows.get(QUOTES)
        ids = plain_ids(trades) if trades is not None else NO_IDS
        is_alone = quotes is None or self._has_one_connection(feed, frames)
        is_apart = rest is None or rows.keys().isdisjoint(rest.tables)
        if ids is None or not is_alone or not is_apart:
            return SoonRows({}, self.take([(feed, frames)]).tables)
        found = LiveRows()
        parts: defaultdict[str, list[pa.Table]] = defaultdict(list)
        if rest is not None:
            self._sift(feed, frames, rest, found, parts)
        plain = {QUOTES: quotes} if quotes is not None and len(quotes) else {}
        if trades is not None and len(trades):
            plain |= self._new_trades(trades, ids)
        self._forget()
        return SoonRows(plain, {name: pa.concat_tables(each) for name, each in parts.items()})

    def _forget(self) -> None:
        """Forget the oldest ids where there are too many; nobody has to have them stored."""
        if self._redelivery.is_full:
            self._redelivery.trim()

    def _sift(
        self,
        feed: str,
        frames: Frames,
        decoded: Decoded,
        found: LiveRows,
        parts: defaultdict[str, list[pa.Table]],
    ) -> None:
        """Add what is new of what was decoded."""
        found.quarantined += decoded.quarantine.num_rows
        for dataset, rows in decoded.tables.items():
            if not rows.num_rows:
                continue
            if dataset == QUOTES and self._speaks_alone(feed, frames, rows):
                parts[dataset].append(rows)
                continue
            connection = frames.connection[frame_index(rows, frames)]
            blocks = block_of(frames.first_frame), block_of(frames.last_frame)
            source = Source(connection, connection != HISTORY_CONNECTION, blocks)
            taken = self._redelivery.take(dataset, rows, source, contiguous=False)
            found.duplicates += taken.duplicates
            if taken.rows.num_rows:
                parts[dataset].append(taken.rows)

    def _new_trades(self, trades: Plain, ids: Int64) -> dict[str, Plain]:
        rule = RULES[TRADES]
        columns = (trades.texts(name) for name in rule.instrument)
        names = ["|".join(map(str, each)) for each in zip(*columns, strict=True)]

        def text(at: Int64) -> pl.DataFrame:
            asked = pl.Series("instrument", [names[i] for i in at.tolist()])
            keys = rule.keys(trades.table().take(pa.array(at)))
            return keys.select(asked, "key", "event_time")

        new = self._redelivery.take_numbered(TRADES, names, ids, text)
        if new.all():
            return {TRADES: trades}
        return {TRADES: trades.filter(new)} if new.any() else {}

    def _speaks_alone(self, feed: str, frames: Frames, rows: pa.Table) -> bool:
        """Tell whether quotes have no key, and no other connection that could say them again.

        Comparing costs milliseconds whatever it is given; quotes are most of what comes.
        """
        if self._exact:
            return False
        is_alone = self._has_one_connection(feed, frames)
        return is_alone and rows["venue_sequence"].null_count == rows.num_rows

    def _has_one_connection(self, feed: str, frames: Frames) -> bool:
        known = self._connections[feed]
        first = int(frames.connection[0])
        if (frames.connection == first).all():
            known.add(first)
        else:
            known.update(np.unique(frames.connection).tolist())
        return len(known) == 1

    def _codec(self, feed: str, frames: int) -> Codec | None:
        few_max = FEW_FRAMES.get(feed, FEW_FRAMES_ELSE)
        few = self._few.get(feed) if frames <= few_max else None
        return few or self._columns.get(feed)


def plain_ids(trades: Plain) -> Int64 | None:
    """Return trade ids as numbers; None where one is missing, or is no number as numbers are
    written, or a large one.
    """
    ids = trades.texts("trade_id")
    if None in ids or not all(map(_is_plain, ids)):
        return None
    found = np.asarray(list(map(int, ids)), np.int64)  # type: ignore[arg-type]
    return found if not len(found) or found.max() <= ID_MAX else None


def _is_plain(text: str | None) -> bool:
    """Tell whether a text is how its number is written, as lake.ingest.redelivery has it."""
    return (
        text is not None
        and text.isdecimal()
        and text.isascii()
        and (text[0] != "0" or len(text) == 1)
        and len(text) <= ID_DIGITS_MAX
    )


def merged_runs(runs: Iterable[tuple[str, Frames]]) -> list[tuple[str, Frames]]:
    """Return runs with neighbours of one feed as one, where no frame is missing between them."""
    out: list[tuple[str, Frames]] = []
    for feed, frames in runs:
        if out and out[-1][0] == feed and out[-1][1].last_frame + 1 == frames.first_frame:
            out[-1] = (feed, _joined(out[-1][1], frames))
        else:
            out.append((feed, frames))
    return out


def _joined(one: Frames, other: Frames) -> Frames:
    return Frames(
        one.shard,
        one.first_frame,
        one.payload + other.payload,
        np.concatenate([one.offsets, other.offsets[1:] - other.offsets[0] + len(one.payload)]),
        np.concatenate([one.received_us, other.received_us]),
        np.concatenate([one.connection, other.connection]),
    )
