"""Gradient-boosted trees by LightGBM: the same rows and seed give the same bytes on one machine.

Explanations are LightGBM's own `pred_contrib`, exact TreeSHAP (Lundberg et al. 2020), in C++ beside
the trees: the shap package would bring numba and LLVM for the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from feature_repo.models.learner import TREES, LearnerAway, Range, Samples, prediction
from feature_repo.models.rows import SIDES, Rows
from lake.errors import BadInput

try:
    import lightgbm as lgb
except OSError as error:  # its wheel leaves OpenMP to the system
    raise LearnerAway("lightgbm", str(error), "install it: apt-get install libgomp1") from error

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

LEARNER = TREES
ROUNDS_MAX = 5_000
SEED_MAX = 2**31 - 1

ONE_THREAD_ROWS_MAX = 1_000
"""So few rows are predicted by one thread: to wake others takes longer. Sums are a row's own."""


@dataclass(frozen=True, slots=True)
class TreeRecipe:
    """How trees are grown. rounds: most of them; patience: rounds without a gain that end it early.

    BadInput for bounds that make no sense.
    """

    learner: ClassVar[str] = LEARNER
    space: ClassVar[tuple[Range, ...]] = (
        Range("leaves", 4, 63, log=True, whole=True),
        Range("learning_rate", 0.01, 0.2, log=True),
        Range("rows_in_leaf", 20, 500, log=True, whole=True),
        Range("feature_part", 0.4, 1.0),
        Range("row_part", 0.4, 1.0),
    )

    rounds: int = 300
    patience: int = 30
    leaves: int = 15
    learning_rate: float = 0.05
    rows_in_leaf: int = 50
    feature_part: float = 0.8
    row_part: float = 0.8
    seed: int = 20251010
    threads: int = 1

    def __post_init__(self) -> None:
        fits = (
            1 <= self.rounds <= ROUNDS_MAX
            and self.patience >= 1
            and self.leaves >= 2
            and 0 < self.learning_rate <= 1
            and 0 < self.feature_part <= 1
            and 0 < self.row_part <= 1
            and 0 <= self.seed <= SEED_MAX
            and self.threads >= 1
        )
        if not fits:
            raise BadInput("recipe", f"{self} is out of bounds", f"rounds 1 to {ROUNDS_MAX:,}")

    def parameters(self) -> dict[str, object]:
        """Return them as LightGBM has them."""
        return {
            "objective": "multiclass",
            "num_class": len(SIDES),
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": self.rows_in_leaf,
            "feature_fraction": self.feature_part,
            "bagging_fraction": self.row_part,
            "bagging_freq": 1,
            "seed": self.seed,
            "num_threads": self.threads,
            # sums in one order, whatever the threads do
            "deterministic": True,
            "force_col_wise": True,
            "verbosity": -1,
        }

    def changed(self, values: Mapping[str, Any]) -> TreeRecipe:
        """Return it with other values of these fields."""
        return replace(self, **values)

    def config(self) -> dict[str, Any]:
        """Return its fields, as JSON has them."""
        return asdict(self)

    def samples(self, rows: Rows) -> Samples:
        """Return the rows themselves: a tree looks at one at a time."""
        return TreeSamples(rows, self)


Recipe = TreeRecipe


class TreeSamples:
    """Every row, as it is."""

    def __init__(self, rows: Rows, recipe: TreeRecipe) -> None:
        self._recipe = recipe
        self.rows = rows
        self.places: Int64 = np.arange(len(rows.side))

    def features(self, places: Int64) -> Float64:
        """Return vectors: rows by features."""
        return self.rows.features[places]

    def fit(self, taught: Int64, watched: Int64 | None, rounds: int | None = None) -> Trees:
        """Grow trees, as feature_repo.models.learner.Samples says."""
        shown = None if watched is None else self.rows.of(watched)
        return fit(self.rows.of(taught), shown, self._recipe, rounds)


@dataclass(frozen=True, slots=True)
class Trees:
    """A trained model. names: its features, as a vector has them; text: in LightGBM's format."""

    names: tuple[str, ...]
    text: str
    _booster: lgb.Booster = field(repr=False, compare=False)

    @property
    def booster(self) -> lgb.Booster:
        """Return LightGBM's object."""
        return self._booster

    @property
    def window(self) -> int:
        """Return how many rows a prediction is made of: its own."""
        return 1

    @property
    def hash(self) -> str:
        """Return the SHA-256 of the model's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def rounds(self) -> int:
        """Return how many rounds it has."""
        return int(self._booster.current_iteration())

    def probabilities(self, features: Float64) -> Float64:
        """Return the probability of each side, a row each, in the order of SIDES."""
        self.check(features)
        threads = 1 if len(features) <= ONE_THREAD_ROWS_MAX else 0
        return np.asarray(self._booster.predict(features, num_threads=threads), np.float64)

    def explain(self, features: Float64) -> Float64:
        """Return what each feature adds to log-odds of up over down; the last column is the rest.

        A row's sum is the raw score of up less that of down.
        """
        self.check(features)
        width = len(self.names) + 1
        parts = np.asarray(self._booster.predict(features, pred_contrib=True), np.float64)
        by_side = parts.reshape(len(features), len(SIDES), width)
        return np.asarray(by_side[:, -1, :] - by_side[:, 0, :], np.float64)

    def check(self, features: Float64) -> None:
        """Raise BadInput for vectors of another width, or with what is no number."""
        if features.ndim != 2 or features.shape[1] != len(self.names):
            fault = f"has shape {features.shape}, the model takes {len(self.names)} features"
            raise BadInput("feature vector", fault, f"give {', '.join(self.names)}")
        if not np.isfinite(features).all():
            count = int((~np.isfinite(features)).sum())
            fault = f"{count:,} values are NaN or infinite"
            raise BadInput("feature vector", fault, "leave such rows out")

    def write_mlflow(self, folder: Path) -> None:
        """Write it for mlflow.lightgbm.load_model."""
        models, types = import_module("mlflow.models"), import_module("mlflow.types")
        columns = [types.ColSpec("double", name) for name in self.names]
        import_module("mlflow.lightgbm").save_model(
            self._booster,
            str(folder),
            signature=models.ModelSignature(inputs=types.Schema(columns)),
            pip_requirements=[f"{LEARNER}=={lgb.__version__}"],
        )


def read_trees(text: str, names: Sequence[str]) -> Trees:
    """Return the model of LightGBM's text; BadInput where it was trained on other features."""
    booster = lgb.Booster(model_str=text)
    if booster.feature_name() != list(names):
        raise BadInput(
            "model",
            f"takes {', '.join(booster.feature_name())}, not {', '.join(names)}",
            "choose the model of this feature set, or train one",
        )
    return Trees(tuple(names), text, booster)


read_model = read_trees


def fit(rows: Rows, watched: Rows | None, recipe: TreeRecipe, rounds: int | None = None) -> Trees:
    """Train on rows; end early where `watched` gets no better, and keep the best round.

    rounds: exactly so many instead.
    """
    made = _data(rows)
    callbacks: list[Callable[..., Any]] = []
    if watched is not None:
        callbacks = [lgb.early_stopping(recipe.patience, verbose=False)]
    booster = lgb.train(
        recipe.parameters(),
        made,
        num_boost_round=rounds or recipe.rounds,
        valid_sets=[_data(watched, made)] if watched is not None else [],
        callbacks=callbacks,
    )
    best = booster.best_iteration if watched is not None else 0
    return read_trees(booster.model_to_string(num_iteration=best or None), rows.names)


def judged(probabilities: Float64, rows: Rows) -> Mapping[str, float]:
    """Return log loss, accuracy, hit rate of the sign where there was one, and correlation."""
    place = rows.side + 1
    said = prediction(probabilities)
    moved = rows.side != 0
    spread = said.std() > 0 and rows.value.std() > 0
    return {
        "log_loss": float(-np.log(probabilities[np.arange(len(place)), place].clip(1e-15)).mean()),
        "accuracy": float((probabilities.argmax(axis=1) == place).mean()),
        "hit_rate": float((np.sign(said) == rows.side)[moved].mean()) if moved.any() else 0.0,
        "correlation": float(np.corrcoef(said, rows.value)[0, 1]) if spread else 0.0,
    }


def _data(rows: Rows, like: lgb.Dataset | None = None) -> lgb.Dataset:
    return lgb.Dataset(
        rows.features,
        label=rows.side + 1,
        feature_name=list(rows.names),
        reference=like,
        free_raw_data=False,
    )
