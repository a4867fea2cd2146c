"""What every way to learn has in common, so that training, search and registry know none of them.

A learner is a module: its recipe says how models are made, its models what is predicted. A
prediction is P(up) - P(down), from -1 to 1; its confidence is the likeliest side's probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from feature_repo.models.rows import Rows
from lake.errors import Unavailable, WrongUse

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

TREES, SEQUENCE = "lightgbm", "sequence"
MODULES: Mapping[str, str] = {
    TREES: "feature_repo.models.trees",
    SEQUENCE: "feature_repo.models.sequences",
}
"""Learner -> its module, loaded when it is needed: one of them wants torch."""

AT_ONCE = 16_384
"""Vectors that are gathered at once: windows of 32 rows of 25 doubles take 100 MiB then."""


class LearnerAway(Unavailable):
    """What a learner needs is not on this machine: its models alone are concerned."""


@dataclass(frozen=True, slots=True)
class Range:
    """Where a search may look for a field of a recipe; both bounds inclusive."""

    name: str
    low: float
    high: float
    log: bool = False
    whole: bool = False


class Model(Protocol):
    """A trained model; features are doubles, a row each, and what else the learner says."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return its features, as a vector has them."""

    @property
    def window(self) -> int:
        """Return how many rows of a series a prediction is made of."""

    @property
    def text(self) -> str:
        """Return all of it: read_model of the learner makes the same model of it."""

    @property
    def hash(self) -> str:
        """Return the SHA-256 of the text."""

    @property
    def rounds(self) -> int:
        """Return how many rounds it was trained."""

    def probabilities(self, features: Float64) -> Float64:
        """Return the probability of each side, a row each; BadInput for what it can't take."""

    def explain(self, features: Float64) -> Float64:
        """Return what each feature adds to log-odds of up over down; the last column is the rest.

        A row's sum is the raw score of up less that of down.
        """

    def write_mlflow(self, folder: Path) -> None:
        """Write what MLflow's own loader of this learner reads."""


class Samples(Protocol):
    """What a recipe makes of rows: it fits on some of them and predicts others."""

    @property
    def rows(self) -> Rows:
        """Return the rows that a prediction is made of: labels and times."""

    @property
    def places(self) -> Int64:
        """Return where each of them stood in what was given."""

    def features(self, places: Int64) -> Float64:
        """Return these rows' vectors as the model takes them."""

    def fit(self, taught: Int64, watched: Int64 | None, rounds: int | None = None) -> Model:
        """Train on rows; end early where `watched` gets no better, and keep the best round.

        rounds: exactly so many instead. Places are of `rows`.
        """


class Recipe(Protocol):
    """How a learner makes models; a frozen dataclass whose fields are JSON's."""

    learner: ClassVar[str]
    space: ClassVar[tuple[Range, ...]]

    @property
    def seed(self) -> int:
        """Return what every random choice follows from."""

    @property
    def rounds(self) -> int:
        """Return the most rounds."""

    def changed(self, values: Mapping[str, Any]) -> Recipe:
        """Return it with other values of these fields."""

    def config(self) -> dict[str, Any]:
        """Return its fields, as JSON has them."""

    def samples(self, rows: Rows) -> Samples:
        """Return what can be learned from; BadInput where that is nothing."""


def predicted(model: Model, samples: Samples, places: Int64) -> Float64:
    """Return the probability of each side at these places of the samples' rows."""
    parts = [
        model.probabilities(samples.features(places[start : start + AT_ONCE]))
        for start in range(0, len(places), AT_ONCE)
    ]
    return np.concatenate(parts)


def prediction(probabilities: Float64) -> Float64:
    """Return P(up) - P(down) of each row."""
    return np.asarray(probabilities[:, -1] - probabilities[:, 0], np.float64)


def confidence(probabilities: Float64) -> Float64:
    """Return the probability of the likeliest side of each row."""
    return np.asarray(probabilities.max(axis=1), np.float64)


def learner(name: str) -> Any:
    """Return a learner's module, with Recipe and read_model(text, names).

    Raises WrongUse where there is none, LearnerAway where what it needs is not installed.
    """
    if name not in MODULES:
        raise WrongUse(f"learner {name}", "is unknown", f"one of {', '.join(MODULES)}")
    return import_module(MODULES[name])


def read_model(name: str, text: str, features: Sequence[str]) -> Model:
    """Return a learner's model of its text; BadInput where it takes other features.

    Raises as learner does.
    """
    made: Model = learner(name).read_model(text, features)
    return made


def recipe_of(name: str, config: Mapping[str, Any]) -> Recipe:
    """Return a learner's recipe of fields that were kept as JSON. Raises as learner does."""
    made: Recipe = learner(name).Recipe(**config)
    return made
