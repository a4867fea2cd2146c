"""Search for a recipe, by optuna, on what a fold was given and never on what it is tested with.

Each trial is trained on a fold's older rows and judged on those that early stopping watches. A
fold's own search decides its recipe, so that the tests judge search and training together; the
last search, on all rows, decides the model's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna

from feature_repo.models.learner import Model, Range, Recipe, Samples, predicted, prediction
from feature_repo.models.rows import Rows
from feature_repo.models.trees import judged
from lake.errors import BadInput, WrongUse

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

TRIALS_MAX = 1_000
STARTS_MAX = 10
"""Trials by chance before a search draws conclusions."""


Cut = Callable[[Rows], tuple[Int64, Int64]]
"""Cuts rows into taught ones, and watched ones that come after, as training.cut_early does."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A recipe that was tried. fold: from 1; 0 is the search on all rows.

    log_loss and sharpe are of the watched rows; sharpe: mean over spread of prediction times return
    by row, as the deflated Sharpe ratio wants it.
    """

    fold: int
    number: int
    recipe: Mapping[str, Any]
    log_loss: float
    sharpe: float
    rounds: int

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "fold": self.fold,
            "number": self.number,
            "recipe": dict(self.recipe),
            "log_loss": self.log_loss,
            "sharpe": self.sharpe,
            "rounds": self.rounds,
        }


@dataclass(frozen=True, slots=True)
class Best:
    """What a search came to: the recipe with the least log loss, and its model of that split."""

    recipe: Recipe
    samples: Samples
    model: Model
    trials: tuple[Trial, ...]


def search(rows: Rows, places: Int64, recipe: Recipe, trials: int, fold: int, cut: Cut) -> Best:
    """Return the best of so many trials on the rows at these places; the first is `recipe` itself.

    The same rows and recipe (its seed) give the same trials. A trial that can't be trained counts
    and is passed over. Raises WrongUse for a number out of bounds, BadInput where none can.
    """
    if not 1 <= trials <= TRIALS_MAX:
        raise WrongUse(f"{trials} trials", "out of bounds", f"1 to {TRIALS_MAX:,}")
    optuna.logging.set_verbosity(logging.WARNING)
    sampler = optuna.samplers.TPESampler(
        seed=recipe.seed + fold, n_startup_trials=min(STARTS_MAX, max(1, trials // 2))
    )
    study = optuna.create_study(sampler=sampler, direction="minimize")
    study.enqueue_trial({each.name: getattr(recipe, each.name) for each in recipe.space})
    told: list[Trial] = []
    best: tuple[float, Recipe, Samples, Model] | None = None
    fault: BadInput | None = None
    for number in range(1, trials + 1):
        asked = study.ask()
        chosen = {each.name: _value(asked, each) for each in recipe.space}
        tried = recipe.changed(chosen)
        try:
            samples = tried.samples(rows)
            kept = np.flatnonzero(np.isin(samples.places, places))
            taught, watched = (kept[each] for each in cut(samples.rows.of(kept)))
            model = samples.fit(taught, watched)
        except BadInput as error:
            fault = error
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
            continue
        said = predicted(model, samples, watched)
        seen = samples.rows.of(watched)
        loss = judged(said, seen)["log_loss"]
        study.tell(asked, loss)
        told.append(Trial(fold, number, chosen, loss, signal_sharpe(said, seen), model.rounds))
        if best is None or loss < best[0]:
            best = loss, tried, samples, model
    if best is None:
        assert fault is not None
        raise fault
    _, chosen_recipe, of, made = best
    return Best(chosen_recipe, of, made, tuple(told))


def signal_sharpe(probabilities: Float64, rows: Rows) -> float:
    """Return mean over spread of prediction times return, by row; 0 where it never differs."""
    gains = prediction(probabilities) * rows.value
    spread = float(gains.std(ddof=1)) if len(gains) > 1 else 0.0
    return float(gains.mean()) / spread if spread > 0 else 0.0


def _value(asked: optuna.Trial, of: Range) -> float | int:
    if of.whole:
        return asked.suggest_int(of.name, int(of.low), int(of.high), log=of.log)
    return asked.suggest_float(of.name, of.low, of.high, log=of.log)
