"""One shard's builder, fed a frame at a time, for tests of who is believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

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

    def restarts(self) -> None:
        """Make the builder anew, as after a kill: from what is stored, and the journal."""
        self.builder = new_builder(self.feed, self.codec, self.builder.state()["up"])
        self.builder.recall(self.journal)

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
        if "crypto_quotes" in built.tables:
            self.taken += map(float, built.tables["crypto_quotes"]["bid_price"].to_pylist())
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
