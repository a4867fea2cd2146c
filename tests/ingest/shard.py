"""One shard's builder, fed a frame at a time, for tests of who is believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from lake.feeds.codec import Codec, frames_of
from lake.feeds.massive_columns import MassiveColumns
from lake.ingest.batch import BatchBuilder
from lake.ingest.control import HISTORY_CONNECTION, Control, GapOpened, dump
from lake.ingest.feed_gap import GapBook
from lake.ingest.instrument_book import InstrumentBook
from lake.ingest.redelivery import Redelivery
from lake.journal.reader import Run
from tests.path.lakehouse import NOW_MS, frame, quote

NOW_US = NOW_MS * 1000


class NothingStored:
    """Stores that hold no key."""

    def stored(self, dataset: str, keys: pl.DataFrame) -> npt.NDArray[np.bool_]:
        return np.zeros(len(keys), np.bool_)


def new_builder(feed: str, codec: Codec, up: Mapping[str, list[int]]) -> BatchBuilder:
    """Return a builder that knows which connections are up, and nothing else."""
    redelivery = Redelivery(NothingStored(), {})
    books = GapBook(0), InstrumentBook(0)
    return BatchBuilder(0, {feed: codec}, redelivery, *books, up, epoch=1)


@dataclass
class Shard:
    """Feeds a builder one frame at a time; taken: bids of the quotes that were taken."""

    feed: str = "sim"
    codec: Codec = field(default_factory=lambda: MassiveColumns("sim"))
    taken: list[float] = field(default_factory=list)
    journal: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.builder = new_builder(self.feed, self.codec, {})

    def restarts(self, before: Sequence[Run] | None = None) -> None:
        """Make the builder anew, as after a kill: from what is stored, and the journal.

        before: its last runs; by default all that this shard has heard.
        """
        self.builder = new_builder(self.feed, self.codec, self.builder.state()["up"])
        self.builder.recall(self.journal if before is None else before)

    def runs(self, said: Sequence[tuple[int, int]], first_frame: int) -> list[Run]:
        """Return one run of frames, a quote each: (connection, bid)."""
        if not said:
            return []
        raw = [frame(quote(float(bid))) for _, bid in said]
        frames = frames_of(raw, first_frame=first_frame, received_us=NOW_US)
        connections = np.array([connection for connection, _ in said], np.int32)
        return [Run(self.feed, False, replace(frames, connection=connections))]

    def builds(self, runs: list[Run]) -> None:
        """Build a batch of runs; note what is taken."""
        if runs:
            self._note(self.builder.build(runs, NOW_US).tables)

    def _note(self, tables: Mapping[str, pa.Table]) -> None:
        if "crypto_quotes" in tables:
            self.taken += map(float, tables["crypto_quotes"]["bid_price"].to_pylist())

    def hears(self, raw: bytes, connection: int, *, control: bool = False) -> dict[str, int]:
        """Take a frame in; return the rows that were taken of it, by dataset."""
        frames = frames_of(
            [raw],
            first_frame=len(self.journal) + 1,
            received_us=NOW_US + len(self.journal),
            connection=connection,
        )
        self.journal.append(Run(self.feed, control, frames))
        built = self.builder.build(self.journal[-1:], NOW_US)
        self._note(built.tables)
        return {name: table.num_rows for name, table in built.tables.items()}

    def notes(self, *records: Control) -> None:
        for record in records:
            self.hears(dump(record), HISTORY_CONNECTION, control=True)

    def quotes(self, bid: float, *connections: int) -> None:
        """Let connections say the same quote, in this order."""
        for connection in connections:
            self.hears(frame(quote(bid)), connection)


def gap(connection: int) -> GapOpened:
    return GapOpened(connection, "disconnect", NOW_US, NOW_US)
