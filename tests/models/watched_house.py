"""A lakehouse where a model was trained on a release, and bars came after it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from feature_repo.models.registry import Registry, RegistryPlace, Version
from feature_repo.models.trees import TreeRecipe
from flows.bars_to_features import BarsToFeatures
from flows.features_to_model import Order, train_model
from flows.release_to_training_rows import Ask, rows_of_release
from lake.clock import ManualClock
from lake.releases.release import create
from lake.views.client import Client
from tests.bars.trading import EPOCH
from tests.features.bars import walk
from tests.features.house import House

BARS_TRAINED, BARS_AFTER = 600, 1_400
FEATURES = ("return_1", "rsi_14", "realised_volatility_30")
ASK = Ask(horizon=5)
NOW = datetime.fromisoformat("2024-03-01T00:00:00+00:00")
BARS = walk(BARS_TRAINED + BARS_AFTER, gaps=0)


class WatchedHouse(House):
    """A house of features with a registry beside it; time goes on by an hour a run."""

    clock = ManualClock((NOW - EPOCH) // timedelta(microseconds=1))

    def begin(self, folder: Path) -> None:
        """Publish the first bars, make the release that models are trained on."""
        self.start_shard(0)
        self.bars(0, BARS_TRAINED)
        self.write()
        self.commit()
        create(self.dsn, self.place, "first", ManualClock())
        self.registry = registry_in(folder)

    def bars(self, first: int, last: int, wild: float = 0.0) -> None:
        """Publish these bars and make their features; wild: so much farther the closes jump."""
        rows = BARS.slice(first, last - first)
        if wild:
            rows = wilder(rows, wild)
        self.publish(rows)
        self.clock.advance(3_600_000_000)
        with BarsToFeatures(self.dsn, self.place, clock=self.clock) as maker:
            maker.step()

    def train(self, role: str = "", seed: int = 1, name: str = "direction") -> Version:
        """Train on the release, and give the version a role."""
        with Client(self.dsn, self.place, release="first") as client:
            table = rows_of_release(client, ASK)
        order = Order(
            name,
            "first",
            FEATURES,
            "forward return of 5 bars",
            {"market": "1"},
            TreeRecipe(rounds=12, patience=3, seed=seed),
            folds=2,
            source=ASK.config(),
        )
        made = train_model(table, order, self.registry, self.clock).version
        if role:
            self.registry.set_role(name, made.version, role)
        return made


def registry_in(folder: Path) -> Registry:
    """Return a registry of files in a folder."""
    place = RegistryPlace(f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri())
    return Registry(place)


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
