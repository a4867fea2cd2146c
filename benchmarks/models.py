"""Models: rows predicted per second, at once and one by one, and what a training takes.

    python benchmarks/models.py [--rows N] [--features N] [--json]

The model is as `ticklake train` makes it, of 20 features, on one thread. Singly is one vector a
call, as a live signal asks; explained is with exact SHAP. The raw limit beside them is LightGBM's
own predict, on its own threads and without our checks. Where torch is installed, the learner
sequence is measured beside them, on windows of 32 rows; its raw limit is the bare network.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from feature_repo.models.learner import SEQUENCE, Recipe, recipe_of
from feature_repo.models.rows import Rows
from feature_repo.models.training import Trained, train
from feature_repo.models.trees import TreeRecipe
from lake.errors import Unavailable

MINUTE_US = 60_000_000
SINGLE_CALLS = 2_000
PREDICTED = 200_000
WINDOWS = 20_000
SEQUENCE_ROUNDS = 3

Float64 = npt.NDArray[np.float64]


def rows_by_chance(count: int, features: int) -> Rows:
    """Return rows whose first feature tells a little."""
    chance = np.random.default_rng(1)
    values = chance.normal(size=(count, features))
    value = (0.3 * values[:, 0] + chance.normal(size=count)) / 1_000
    event = np.arange(1, count + 1) * MINUTE_US
    side = np.where(np.abs(value) < 2e-4, 0, np.sign(value)).astype(np.int64)
    names = tuple(f"f_{n}" for n in range(features))
    series = np.zeros(count, np.int64)
    return Rows(names, values, value, side, event, event, event + 5 * MINUTE_US, series, 0)


def per_second(done: int, work: Callable[[], object]) -> float:
    """Return things done per second of one run."""
    start = time.perf_counter()
    work()
    return done / (time.perf_counter() - start)


def measure(count: int, features: int) -> dict[str, float]:
    """Return the figures."""
    rows = rows_by_chance(count, features)
    found: dict[str, float] = {"rows": count, "features": features}
    trained, told = trained_in(rows, TreeRecipe())
    model = trained.model
    asked = np.random.default_rng(2).normal(size=(PREDICTED, features))
    raw = model.booster.predict
    found |= told | predicted(model.probabilities, raw, asked)
    found["explained_per_s"] = per_second(10_000, lambda: model.explain(asked[:10_000]))
    try:
        recipe = recipe_of(SEQUENCE, {"rounds": SEQUENCE_ROUNDS})
    except Unavailable as error:
        print(error, file=sys.stderr)
        return found
    trained, told = trained_in(rows, recipe)
    model = trained.model
    windows = trained.samples.features(np.arange(WINDOWS))
    told |= predicted(model.probabilities, bare(model), windows)
    told["explained_per_s"] = per_second(2_000, lambda: model.explain(windows[:2_000]))
    return found | {f"{SEQUENCE}_{name}": value for name, value in told.items()}


def trained_in(rows: Rows, recipe: Recipe) -> tuple[Trained, dict[str, float]]:
    """Return what was trained, and how long that took."""
    start, start_cpu = time.perf_counter(), time.process_time()
    trained = train(rows, recipe)
    return trained, {
        "rounds": trained.metrics["rounds"],
        "train_s": time.perf_counter() - start,
        "train_cpu_s": time.process_time() - start_cpu,
    }


def predicted(
    ours: Callable[[Float64], object], raw: Callable[[Float64], object], asked: Float64
) -> dict[str, float]:
    """Return predictions per second at once and one by one, through our checks and without."""
    ones = [asked[n : n + 1] for n in range(SINGLE_CALLS)]
    for each in ones[:100]:
        ours(each), raw(each)
    return {
        "batch_per_s": per_second(len(asked), lambda: ours(asked)),
        "batch_raw_per_s": per_second(len(asked), lambda: raw(asked)),
        "single_per_s": per_second(SINGLE_CALLS, lambda: [*map(ours, ones)]),
        "single_raw_per_s": per_second(SINGLE_CALLS, lambda: [*map(raw, ones)]),
    }


def bare(model: Any) -> Callable[[Float64], object]:
    """Return the network without our checks, called as torch would have it."""
    torch = import_module("torch")

    def raw(asked: Float64) -> object:
        with torch.inference_mode():
            return model.network(torch.from_numpy(asked))

    return raw


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.rows, given.features)
    if given.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:26} {value:,.2f}")


if __name__ == "__main__":
    main()
