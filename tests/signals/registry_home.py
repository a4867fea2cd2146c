"""A home with a registry, and models of features that the speed layer makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from feature_repo.models.registry import Registry, Version
from feature_repo.models.registry_place import registry_place
from feature_repo.models.trees import TreeRecipe
from flows.features_to_model import Order, train_model
from flows.release_to_training_rows import Ask
from lake.clock import SystemClock
from tests.models.trading_rows import training_rows

FEATURES = ("rsi_14", "return_1", "realised_volatility_30")
GIVEN = training_rows(600)
TABLE = GIVEN.rename_columns([*GIVEN.column_names[: -len(FEATURES)], *FEATURES])


class RegistryHome:
    """Trains versions and gives them roles."""

    def __init__(self, home: Path, give_registry: Callable[[Path], None]) -> None:
        give_registry(home)
        self.home = home
        self.registry = Registry(registry_place(home))

    def train(self, role: str = "", seed: int = 1, name: str = "direction") -> Version:
        """Train a version on rows of chance."""
        recipe = TreeRecipe(rounds=5, patience=3, seed=seed)
        words, features = "forward return of 15 bars", {"market": "1"}
        order = Order(
            name, "first", FEATURES, words, features, recipe, folds=2, source=Ask().config()
        )
        made = train_model(TABLE, order, self.registry, SystemClock()).version
        if role:
            self.registry.set_role(name, made.version, role)
        return made

    def file(self, version: Version, name: str) -> Path:
        """Return where a file of a version lies."""
        return Path(version.source.removeprefix("file://")) / name
