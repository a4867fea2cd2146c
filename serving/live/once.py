"""Entries of a stream as rows, each event once, by the codecs and the rules of the lake.

A few frames are decoded frame by frame, which costs microseconds each; a column decoder costs
milliseconds whatever it is given. Both give the same rows for the same frames (tests/feeds).
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
from lake.feeds.codec import Codec, Frames
from lake.feeds.massive_lists import MassiveLists
from lake.ingest.codecs import codecs
from lake.ingest.control import HISTORY_CONNECTION
from lake.ingest.keyless import block_of
from lake.ingest.redelivery import Redelivery, Source, StoredKeys, frame_index

QUOTES = "crypto_quotes"
FEW_FRAMES = {"massive": 1_000, "sim": 1_000}
FEW_FRAMES_ELSE = 250
"""Frames up to which one at a time is quicker than by the column."""


class NothingStored:
    """Stands for the stores where they are not asked: what memory does not know is new."""

    def stored(self, dataset: str, keys: pl.DataFrame) -> npt.NDArray[np.bool_]:
        """Say that none is."""
        return np.zeros(len(keys), np.bool_)


@dataclass
class LiveRows:
    """Rows by dataset, as the lake will have them, and what became of the rest, in events."""

    tables: dict[str, pa.Table] = field(default_factory=dict)
    duplicates: int = 0
    quarantined: int = 0


class Once:
    """Decodes one shard's frames; each event is taken once.

    high: dataset -> instrument -> largest key stored when this begins, from the shard's state;
    stores: asked about keys below it. exact: compare quotes by content whatever there is to compare
    with, as the lake does: it costs a millisecond a run, and gives the rows of the lake.
    """

    def __init__(
        self,
        stores: StoredKeys | None = None,
        high: Mapping[str, Mapping[str, int]] | None = None,
        *,
        exact: bool = False,
    ) -> None:
        self._exact = exact
        self._columns = codecs()
        self._few: dict[str, Codec] = {
            **{feed: MassiveLists(feed) for feed in ("massive", "sim")},
            **{f"binance.{market}": BinanceCodec(market) for market in ("spot", "usdm", "coinm")},
        }
        self._redelivery = Redelivery(stores or NothingStored(), high or {})
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
            decoded = codec.decode(frames)
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
        found.tables = {name: pa.concat_tables(each) for name, each in parts.items()}
        return found

    def _speaks_alone(self, feed: str, frames: Frames, rows: pa.Table) -> bool:
        """Tell whether quotes have no key, and no other connection that could say them again.

        Comparing costs milliseconds whatever it is given; quotes are most of what comes.
        """
        if self._exact:
            return False
        known = self._connections[feed]
        known.update(np.unique(frames.connection).tolist())
        return len(known) == 1 and rows["venue_sequence"].null_count == rows.num_rows

    def _codec(self, feed: str, frames: int) -> Codec | None:
        few_max = FEW_FRAMES.get(feed, FEW_FRAMES_ELSE)
        few = self._few.get(feed) if frames <= few_max else None
        return few or self._columns.get(feed)


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
