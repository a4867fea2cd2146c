"""A lakehouse where a model was trained on a release, and bars came after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from feature_repo.models.learner import Recipe
from feature_repo.models.registry import Registry, Version
from feature_repo.models.registry_place import registry_place
from feature_repo.models.trees import TreeRecipe
from flows.bars_to_features import BarsToFeatures
from flows.features_to_model import Order, train_model
from flows.release_to_training_rows import Ask, rows_of_release
from lake import state
from lake.clock import ManualClock
from lake.releases.release import create
from lake.views.client import Client
from tests.bars.trading import EPOCH
from tests.conftest import Databases
from tests.features.bars import walk
from tests.features.house import House

BARS_TRAINED, BARS_AFTER = 600, 1_400
FEATURES = ("return_1", "rsi_14", "realised_volatility_30")
ASK = Ask(horizon=5)
NOW = datetime.fromisoformat("2024-03-01T00:00:00+00:00")
BARS = walk(BARS_TRAINED + BARS_AFTER, gaps=0)


class WatchedHouse(House):
    """A house of features with a registry in its home; time goes on by an hour a run."""

    def begin(self, home: Path) -> None:
        """Publish the first bars, make the release that models are trained on."""
        self.home = home
        self.clock = ManualClock((NOW - EPOCH) // timedelta(microseconds=1))
        self.bars = 0
        state.write_state(home, {"postgres": {"dsn": self.dsn}})
        self.registry = Registry(registry_place(home))
        self.client = Client(self.dsn, self.place)
        self.start_shard(0)
        self.more(BARS_TRAINED)
        self.write()
        self.commit()
        create(self.dsn, self.place, "first", ManualClock())

    def more(self, count: int, wild: float = 0.0) -> None:
        """Publish the next bars and make their features; wild: so much farther the closes jump."""
        rows = BARS.slice(self.bars, count)
        self.bars += count
        self.publish(wilder(rows, wild) if wild else rows)
        self.clock.advance(3_600_000_000)
        with BarsToFeatures(self.dsn, self.place, clock=self.clock) as maker:
            maker.step()

    def rows(self, query: str = "FROM features_market") -> pa.Table:
        return self.client.arrow(query)

    def close(self) -> None:
        self.client.close()
        super().close()

    def train(
        self,
        role: str = "",
        seed: int = 1,
        name: str = "direction",
        recipe: Recipe | None = None,
    ) -> Version:
        """Train on the release, trees where no recipe says other; give the version a role."""
        with Client(self.dsn, self.place, release="first") as client:
            table = rows_of_release(client, ASK)
        order = Order(
            name,
            "first",
            FEATURES,
            "forward return of 5 bars",
            {"market": "1"},
            recipe or TreeRecipe(rounds=12, patience=3, seed=seed),
            folds=2,
            source=ASK.config(),
        )
        made = train_model(table, order, self.registry, self.clock).version
        if role:
            self.registry.set_role(name, made.version, role)
        return made


@contextmanager
def watched_house(databases: Databases, template: str, home: Path) -> Iterator[WatchedHouse]:
    """Begin a house in a database of its own."""
    name = databases.create(template)
    house = WatchedHouse(databases.dsn(name), home / "warehouse")
    house.begin(home)
    try:
        yield house
    finally:
        house.close()
        databases.drop(name)


def wilder(rows: pa.Table, by: float) -> pa.Table:
    """Return bars whose closes jump so much farther, up and down in turn."""
    closes = rows["close"].cast(pa.float64()).to_numpy()
    jumped = np.round(closes * np.where(np.arange(len(closes)) % 2, 1 + by, 1 - by), 8)
    for name in ("open", "high", "low", "close", "vwap"):
        at = rows.column_names.index(name)
        rows = rows.set_column(
            at, rows.schema.field(at), pa.array(jumped).cast(rows.schema.field(at).type, safe=False)
        )
    return rows
