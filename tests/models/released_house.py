"""A lakehouse of bars with features and a release `first`, and the rows of a training of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from feature_repo.feature_set import FeatureSet
from flows.bars_to_features import BarsToFeatures
from flows.release_to_training_rows import Ask, rows_of_release
from lake.clock import ManualClock
from lake.releases.release import create
from lake.views.client import Client
from tests.bars.trading import EPOCH
from tests.features.house import NOW, US, House


class ReleasedHouse(House):
    """A house whose bars have the features of market, and of sets beside it."""

    def make_all(self, beside: Sequence[FeatureSet]) -> None:
        self.make()
        for each in beside:
            clock = ManualClock((NOW - EPOCH) // US)
            with BarsToFeatures(self.dsn, self.place, clock=clock, made=each) as maker:
                maker.step()

    def release(self, name: str) -> None:
        create(self.dsn, self.place, name, ManualClock())

    def training_rows(self, ask: Ask, release: str = "first") -> pa.Table:
        with Client(self.dsn, self.place, release=release) as client:
            return rows_of_release(client, ask)


@contextmanager
def released(
    dsn: str, folder: Path, bars: pa.Table, beside: Sequence[FeatureSet] = ()
) -> Iterator[ReleasedHouse]:
    """Give a house in an empty database, its lake in this folder."""
    house = ReleasedHouse(dsn, folder)
    house.start_shard(0)
    house.publish(bars)
    house.make_all(beside)
    house.write()
    house.commit()
    house.release("first")
    yield house
    house.close()
