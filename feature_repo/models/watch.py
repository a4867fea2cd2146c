"""A version of a model as it is watched: its features, its predictions, and how they came out.

What is measured is compared with what was known when the version was trained: profiles of its
features, what its features weigh, what its walk-forward tests said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from feature_repo.models.drift import PSI_MAX, ROWS_MIN, Drift, Profile, drift, profile_of
from feature_repo.models.rows import Rows
from feature_repo.models.trees import judged

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

LABELLED_ROWS_MIN = 100
"""Of fewer rows with a label nothing is said."""

LOSS_PART_MAX = 0.05
"""Part by which the log loss may exceed that of the tests before somebody should look."""

WEIGHT_PART_MAX = 0.25
"""Part of what a model weighs that may have drifted before somebody should look: prices wander, and
a feature that counts for nothing may go where it likes."""


@dataclass(frozen=True, slots=True)
class Column:
    """A feature: weight, its part of the mean size of contributions, 0 to 1.

    now, found: None where rows are too few.
    """

    name: str
    weight: float
    trained: Profile = field(repr=False)
    now: Profile | None = field(repr=False)
    found: Drift | None

    @property
    def large(self) -> bool:
        """Tell whether it went far from what the model was trained on."""
        return self.found is not None and self.found.large


@dataclass(frozen=True, slots=True)
class Performance:
    """How predictions came out: metrics as feature_repo.models.trees.judged, over so many rows."""

    rows: int
    metrics: Mapping[str, float]
    tested: Mapping[str, float]

    @property
    def worse(self) -> bool:
        """Tell whether its log loss is above what the tests allow for."""
        return self.metrics["log_loss"] > self.tested["log_loss"] * (1 + LOSS_PART_MAX)


@dataclass(frozen=True, slots=True)
class Watched:
    """What was measured of a version, over the rows of [from_us, to_us].

    prediction, performance: None where there is too little to say. fault: why nothing is.
    """

    model: str
    version: int
    role: str
    release: str
    interval: str
    rows: int = 0
    from_us: int = 0
    to_us: int = 0
    columns: tuple[Column, ...] = ()
    prediction: Drift | None = None
    performance: Performance | None = None
    fault: str = ""

    @property
    def drifted(self) -> tuple[Column, ...]:
        """The features that went far, the heaviest first."""
        found = (each for each in self.columns if each.large)
        return tuple(sorted(found, key=lambda each: -each.weight))

    @property
    def drifted_weight(self) -> float:
        """Return what they weigh together, 0 to 1."""
        return float(sum(each.weight for each in self.drifted))

    def faults(self) -> list[str]:
        """Return what somebody should look at, in words."""
        found = []
        if self.drifted_weight > WEIGHT_PART_MAX:
            names = ", ".join(each.name for each in self.drifted[:3])
            said = f"features that weigh {self.drifted_weight:.0%} of it are not as in training"
            found.append(f"{said} ({names})")
        if self.prediction is not None and self.prediction.large:
            found.append(f"its predictions moved, PSI {self.prediction.psi:.2f}, above {PSI_MAX}")
        if self.performance is not None and self.performance.worse:
            now, then = self.performance.metrics["log_loss"], self.performance.tested["log_loss"]
            found.append(f"log loss {now:.4f}, in its tests {then:.4f}")
        return found

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it, without the values themselves."""
        came = self.performance
        return {
            "model": self.model,
            "version": self.version,
            "role": self.role,
            "rows": self.rows,
            "features": {
                each.name: {"weight": each.weight, **asdict(each.found)}
                for each in self.columns
                if each.found is not None
            },
            "prediction": asdict(self.prediction) if self.prediction else None,
            "performance": {"labels": came.rows, **came.metrics} if came else None,
            "faults": self.faults(),
            "fault": self.fault,
        }

    def lines(self) -> list[str]:
        """Return it in words."""
        who = f"{self.model} {self.version}, {self.role}"
        if self.fault:
            return [f"{who}: {self.fault}"]
        first = f"{who}: {self.rows:,} rows of features, {len(self.drifted)} of"
        first += f" {len(self.columns)} features far from training, {self.drifted_weight:.0%} of"
        first += " its weight"
        if self.prediction is not None:
            first += f"; predictions PSI {self.prediction.psi:.3f}, K-S {self.prediction.ks:.3f}"
        if self.performance is not None:
            said = self.performance.metrics
            first += f"; log loss {said['log_loss']:.4f}, hit rate {said['hit_rate']:.3f} of"
            first += f" {self.performance.rows:,} labels"
        return [first, *(f"  look: {each}" for each in self.faults())]


def columns_of(
    vectors: Mapping[str, Float64], profiles: Mapping[str, Profile], weights: Mapping[str, float]
) -> tuple[Column, ...]:
    """Return the drift of each feature, the heaviest first; values are finite."""
    whole = sum(weights.get(name, 0.0) for name in vectors) or 1.0
    made = [
        Column(
            name,
            weights.get(name, 0.0) / whole,
            profiles[name],
            profile_of(values) if len(values) >= ROWS_MIN else None,
            drift(profiles[name], values),
        )
        for name, values in vectors.items()
        if name in profiles
    ]
    return tuple(sorted(made, key=lambda each: (-each.weight, each.name)))


def performance(
    probabilities: Float64, side: Int64, value: Float64, tested: Mapping[str, float]
) -> Performance | None:
    """Return how predictions came out; None for too few rows, or tests that say no log loss.

    probabilities: a row each of down, flat and up; side, value: of the label of that row.
    """
    if len(side) < LABELLED_ROWS_MIN or "log_loss" not in tested:
        return None
    nothing = np.zeros(len(side), np.int64)
    rows = Rows((), np.zeros((len(side), 0)), value, side, nothing, nothing, nothing, nothing, 0)
    return Performance(len(side), judged(probabilities, rows), tested)
