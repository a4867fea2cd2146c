"""Train a model as it is used: walk forward, stop early, judge on what came next, then fit all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from feature_repo.models.rows import Rows
from feature_repo.models.trees import TreeRecipe, Trees, fit, judged, rounds_of
from feature_repo.models.walk_forward import before, walk_forward
from lake.errors import BadInput

WATCHED_PART = 0.2
"""Newest part of a fold's training that early stopping looks at; the test is never looked at."""


@dataclass(frozen=True, slots=True)
class Trained:
    """model: fitted on all rows with the folds' median number of rounds.

    folds: what each test said; metrics: their means, with rows and rounds.
    """

    model: Trees
    folds: tuple[Mapping[str, float], ...]
    metrics: Mapping[str, float]


def train(rows: Rows, recipe: TreeRecipe, *, folds: int = 4, embargo_us: int = 0) -> Trained:
    """Return the model of these rows; BadInput where a fold has too little to train or watch."""
    told, rounds = [], []
    for fold in walk_forward(rows.event_us, rows.known_us, folds, embargo_us=embargo_us):
        model = _stopped_early(rows.of(fold.train), recipe, embargo_us)
        tested = rows.of(fold.test)
        told.append(judged(model.probabilities(tested.features), tested))
        rounds.append(rounds_of(model))
    final = max(1, int(np.median(rounds)))
    metrics = {name: float(np.mean([each[name] for each in told])) for name in told[0]}
    metrics |= {"rows": len(rows.side), "rows_dropped": rows.dropped, "rounds": final}
    return Trained(fit(rows, None, recipe, final), tuple(told), metrics)


def _stopped_early(rows: Rows, recipe: TreeRecipe, embargo_us: int) -> Trees:
    times = np.unique(rows.event_us)
    start = int(times[min(len(times) - 1, int(len(times) * (1 - WATCHED_PART)))])
    taught = before(rows.known_us, rows.event_us, start, embargo_us)
    watched = np.flatnonzero(rows.event_us >= start)
    if not len(taught):
        raise BadInput(
            "training rows",
            "a fold has nothing to train before what early stopping looks at",
            "take a longer span, fewer folds, or a shorter horizon or embargo",
        )
    return fit(rows.of(taught), rows.of(watched), recipe)
