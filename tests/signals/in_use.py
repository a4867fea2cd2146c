"""Versions for tests: of a line of weights, so that anyone can say what they will say."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.models.registry import Card, Version
from feature_repo.trading.market import Instrument
from lake.errors import BadInput
from serving.signals.loaded import Loaded, loaded
from serving.signals.models import InUse, Seat
from serving.signals.route import Route
from serving.signals.scoring import Told

NAMES = ("return_1", "rsi_14")
SOURCE = {"interval": "1m", "tickers": [], "label": "forward", "horizon": 15, "dead_band": 0.0002}
START_US = 1_700_000_040_000_000
ANSWER_MS_MAX = 60_000.0


@dataclass
class Line:
    """A model that says up by one weight; fails or hangs where it is told to."""

    weight: float = 1.0
    names: tuple[str, ...] = NAMES
    text: str = ""
    hash: str = ""
    rounds: int = 1
    fails: bool = False
    hangs: threading.Event = field(default_factory=threading.Event)
    is_hanging: bool = False
    window: int = 1

    def probabilities(self, features: Any) -> Any:
        if self.fails:
            raise BadInput("line", "is out of order")
        if self.is_hanging:
            self.hangs.wait(120)
        up = 0.4 + 0.1 * np.tanh(self.weight * features[:, 0])
        return np.column_stack([0.8 - up, np.full(len(features), 0.2), up])

    def explain(self, features: Any) -> Any:
        rest = np.zeros((len(features), 1))
        return np.hstack([self.weight * features, rest])

    def write_mlflow(self, folder: Path) -> None:
        raise NotImplementedError


class Looks(Line):
    """A model that says up by its window's first row; it notes what it was given."""

    def __init__(self) -> None:
        super().__init__(window=4)
        self.given: list[np.ndarray] = []

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        assert features.shape[1:] == (self.window, len(self.names))
        self.given.append(features)
        found: np.ndarray = super().probabilities(features[:, 0])
        return found

    def explain(self, features: np.ndarray) -> np.ndarray:
        return np.zeros((len(features), len(self.names) + 1))


def version(
    number: int,
    model: Any = None,
    name: str = "direction",
    answer_ms_max: float = ANSWER_MS_MAX,
    **facts: Any,
) -> Loaded:
    """Return a version that is loaded; what is late is made so, and not by the machine."""
    model = model or Line(float(number))
    card = Card(name, model.names, {"source": SOURCE, "release": "first", **facts}, {})
    return loaded(Version(name, number, "run", "hash", (), 0, ""), model, card, answer_ms_max)


def in_use(route: Route | None = None, **seats: Loaded | Seat) -> InUse:
    """Return a model whose roles are taken by versions."""
    made = {
        role: each if isinstance(each, Seat) else Seat(each.version.version, each)
        for role, each in seats.items()
    }
    return InUse("direction", made, route or Route())


def told(n: int = 0, **more: Any) -> Told:
    """Return features of instrument n, fresh at START_US + 1 s."""
    row = Told(
        Instrument(f"X:C{n}USD", "sim", "spot"),
        START_US,
        START_US + 500_000,
        START_US + 900_000,
        {"return_1": 0.1 * (n % 7 - 3), "rsi_14": 50.0, "sma_20": None},
        frozenset(),
    )
    return row._replace(**more)
