"""Train a model as it is used: walk forward, stop early, judge on what came next, then fit all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from feature_repo.models.learner import Model, Recipe, Samples, predicted
from feature_repo.models.rows import Rows
from feature_repo.models.search import Best, Trial, search
from feature_repo.models.trees import judged
from feature_repo.models.walk_forward import before, walk_forward
from lake.errors import BadInput

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

WATCHED_PART = 0.2
"""Newest part of a fold's training that early stopping looks at; the test is never looked at."""


@dataclass(frozen=True, slots=True)
class Tested:
    """What the tests predicted: places in the rows that were given, and probabilities of sides."""

    places: Int64
    probabilities: Float64


@dataclass(frozen=True, slots=True)
class Trained:
    """model: fitted on all rows, with the folds' median number of rounds, or what a search found.

    samples: what it was fitted on. folds: what each test said; metrics: their means, with rows and
    rounds. trials: of every search, in order.
    """

    model: Model
    samples: Samples
    recipe: Recipe
    folds: tuple[Mapping[str, float], ...]
    metrics: Mapping[str, float]
    tested: Tested
    trials: tuple[Trial, ...] = ()


def train(
    rows: Rows, recipe: Recipe, *, folds: int = 4, embargo_us: int = 0, trials: int = 0
) -> Trained:
    """Return the model of these rows; BadInput where a fold has too little to train or watch.

    trials: so many recipes are tried in each fold, and on all rows; 0: `recipe` is taken.
    """
    samples = recipe.samples(rows)
    cut = partial(cut_early, embargo_us=embargo_us)
    told, rounds, places, said = [], [], [], []
    tried: list[Trial] = []
    for number, fold in enumerate(
        walk_forward(rows.event_us, rows.known_us, folds, embargo_us=embargo_us), 1
    ):
        best = _best(rows, samples, fold.train, recipe, trials, number, cut)
        test = np.flatnonzero(np.isin(best.samples.places, fold.test))
        if not len(test):
            raise BadInput("training rows", "a test has no row of its own", "take a longer span")
        said.append(predicted(best.model, best.samples, test))
        told.append(judged(said[-1], best.samples.rows.of(test)))
        places.append(best.samples.places[test])
        rounds.append(best.model.rounds)
        tried += best.trials
    chosen, final = recipe, max(1, int(np.median(rounds)))
    if trials:
        best = search(rows, np.arange(len(rows.side)), recipe, trials, 0, cut)
        chosen, samples, final = best.recipe, best.samples, best.model.rounds
        tried += best.trials
    metrics = {name: float(np.mean([each[name] for each in told])) for name in told[0]}
    count = len(samples.rows.side)
    metrics |= {
        "rows": count,
        "rows_dropped": rows.dropped + len(rows.side) - count,
        "rounds": final,
        "trials": max(1, trials),
    }
    model = samples.fit(np.arange(count), None, final)
    tested = Tested(np.concatenate(places), np.concatenate(said))
    return Trained(model, samples, chosen, tuple(told), metrics, tested, tuple(tried))


def cut_early(rows: Rows, *, embargo_us: int = 0) -> tuple[Int64, Int64]:
    """Return places to train on, and the newest part, which early stopping watches.

    What is taught was known embargo_us before what is watched. BadInput where nothing is left.
    """
    times = np.unique(rows.event_us)
    if not len(times):
        raise BadInput("training rows", "a fold has none to train on", "take a longer span")
    start = int(times[min(len(times) - 1, int(len(times) * (1 - WATCHED_PART)))])
    taught = before(rows.known_us, rows.event_us, start, embargo_us)
    if not len(taught):
        raise BadInput(
            "training rows",
            "a fold has nothing to train before what early stopping looks at",
            "take a longer span, fewer folds, or a shorter horizon or embargo",
        )
    return taught, np.flatnonzero(rows.event_us >= start)


def _best(
    rows: Rows,
    samples: Samples,
    places: Int64,
    recipe: Recipe,
    trials: int,
    number: int,
    cut: partial[tuple[Int64, Int64]],
) -> Best:
    """Return what is made of a fold's rows: by a search, or by the recipe as it is."""
    if trials:
        return search(rows, places, recipe, trials, number, cut)
    kept = np.flatnonzero(np.isin(samples.places, places))
    taught, watched = cut(samples.rows.of(kept))
    return Best(recipe, samples, samples.fit(kept[taught], kept[watched]), ())
