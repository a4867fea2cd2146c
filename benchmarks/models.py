"""Models: rows predicted per second, at once and one by one, and what a training takes.

    python benchmarks/models.py [--rows N] [--features N] [--json]

The model is as `ticklake train` makes it, of 20 features, on one thread. Singly is one vector a
call, as a live signal asks; explained is with exact SHAP. The raw limit beside them is LightGBM's
own predict, on its own threads and without our checks.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from feature_repo.models.rows import Rows
from feature_repo.models.training import train
from feature_repo.models.trees import TreeRecipe

MINUTE_US = 60_000_000
SINGLE_CALLS = 2_000
PREDICTED = 200_000


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
    start, start_cpu = time.perf_counter(), time.process_time()
    trained = train(rows, TreeRecipe())
    train_s, train_cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    model = trained.model
    asked = np.random.default_rng(2).normal(size=(PREDICTED, features))
    ones = [asked[n : n + 1] for n in range(SINGLE_CALLS)]
    raw = model.booster
    return {
        "rows": count,
        "features": features,
        "rounds": trained.metrics["rounds"],
        "train_s": train_s,
        "train_cpu_s": train_cpu_s,
        "batch_per_s": per_second(PREDICTED, lambda: model.probabilities(asked)),
        "batch_raw_per_s": per_second(PREDICTED, lambda: raw.predict(asked)),
        "single_per_s": per_second(SINGLE_CALLS, lambda: [*map(model.probabilities, ones)]),
        "single_raw_per_s": per_second(SINGLE_CALLS, lambda: [*map(raw.predict, ones)]),
        "explained_per_s": per_second(10_000, lambda: model.explain(asked[:10_000])),
    }


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
        print(f"{name:16} {value:,.2f}")


if __name__ == "__main__":
    main()
