"""Which connection's keyless events are taken, and that a session starts with none."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from lake.feeds.codec import frames_of
from lake.feeds.massive_columns import MassiveColumns
from lake.ingest.batch import BatchBuilder
from lake.ingest.control import HISTORY_CONNECTION, Control, GapOpened, Started, Up, dump
from lake.ingest.feed_gap import GapBook
from lake.ingest.redelivery import Redelivery
from lake.journal.reader import Run
from tests.path.lakehouse import NOW_MS, frame, quote, trade

NOW_US = NOW_MS * 1000


class NothingStored:
    """Stores that hold no key."""

    def stored(self, dataset: str, keys: pl.DataFrame) -> npt.NDArray[np.bool_]:
        return np.zeros(len(keys), np.bool_)


@dataclass
class Shard:
    """Feeds a builder one frame at a time; taken: bids of the quotes that were taken."""

    builder: BatchBuilder = field(
        default_factory=lambda: BatchBuilder(
            0,
            {"sim": MassiveColumns("sim")},
            Redelivery(NothingStored(), {}),
            GapBook(0),
            {},
            epoch=1,
        )
    )
    frame_no: int = 0
    taken: list[float] = field(default_factory=list)

    def hears(self, raw: bytes, connection: int, *, control: bool = False) -> dict[str, int]:
        self.frame_no += 1
        frames = frames_of(
            [raw], first_frame=self.frame_no, received_us=NOW_US, connection=connection
        )
        built = self.builder.build([Run("sim", control, frames)], NOW_US)
        if "crypto_quotes" in built.tables:
            self.taken += map(float, built.tables["crypto_quotes"]["bid_price"].to_pylist())
        return {name: table.num_rows for name, table in built.tables.items()}

    def notes(self, *records: Control) -> None:
        for record in records:
            self.hears(dump(record), HISTORY_CONNECTION, control=True)

    def quotes(self, bid: float, *connections: int) -> None:
        for connection in connections:
            self.hears(frame(quote(bid)), connection)


def gap(connection: int) -> GapOpened:
    return GapOpened(connection, "disconnect", NOW_US, NOW_US)


def test_the_connection_that_is_up_longest_speaks_until_it_ends() -> None:
    shard = Shard()
    shard.notes(Started(NOW_US), Up(1, NOW_US))
    shard.quotes(1.0, 1)
    shard.notes(Up(0, NOW_US))
    shard.quotes(2.0, 0, 1)
    shard.quotes(3.0, 1, 0)
    shard.notes(gap(1))
    shard.quotes(4.0, 0)
    shard.notes(Up(1, NOW_US))
    shard.quotes(5.0, 1, 0)
    assert shard.taken == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_connection_of_an_earlier_session_speaks_no_more() -> None:
    shard = Shard()
    shard.notes(Started(NOW_US), Up(1, NOW_US), Up(0, NOW_US))
    shard.notes(Started(NOW_US), Up(0, NOW_US))
    shard.quotes(1.0, 0)
    assert shard.taken == [1.0]


def test_history_brings_trades_once_and_no_quotes() -> None:
    shard = Shard()
    shard.notes(Started(NOW_US), Up(0, NOW_US))
    event = frame(trade(1), quote(1.0))
    assert shard.hears(event, 0)["crypto_trades"] == 1
    again = shard.hears(frame(trade(1), trade(2), quote(1.0)), HISTORY_CONNECTION)
    assert again["crypto_trades"] == 1
    assert shard.taken == [1.0]


def test_who_speaks_is_part_of_what_a_restart_knows() -> None:
    shard = Shard()
    shard.notes(Started(NOW_US), Up(1, NOW_US), Up(0, NOW_US))
    assert shard.builder.state()["up"] == {"sim": [1, 0]}
