"""How far values moved from those that a model was trained on: PSI and Kolmogorov-Smirnov.

A profile is kept beside the model, so that nobody needs the training rows again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lake.errors import BadInput

Float64 = npt.NDArray[np.float64]

BINS = 10
GRID = 1_001
"""Quantiles that a profile keeps: K-S against them is off by a thousandth at most."""

SHARE_MIN = 1e-4
"""Stands in for an empty bin, whose logarithm has no value."""

PSI_MAX = 0.25
"""Above it a shift is large, by the rule of thumb of credit scoring (Siddiqi 2006)."""

ROWS_MIN = 100
"""Of fewer rows nothing is said: the expected PSI of noise alone is about BINS / rows."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How one column was distributed: rising quantiles at GRID equal steps from 0 to 1."""

    quantiles: Float64

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"quantiles": self.quantiles.tolist()}


@dataclass(frozen=True, slots=True)
class Drift:
    """psi: 0 for the same distribution; ks: largest distance of the two, 0 to 1."""

    psi: float
    ks: float
    rows: int

    @property
    def large(self) -> bool:
        """Tell whether somebody should look."""
        return self.psi > PSI_MAX


def profile_of(values: Float64) -> Profile:
    """Return the profile of values; BadInput for none, or for what is no number."""
    if not len(values) or not np.isfinite(values).all():
        raise BadInput("profile", "values are missing, NaN or infinite", "leave such rows out")
    return Profile(np.quantile(values, np.linspace(0.0, 1.0, GRID)))


def profiles_of(document: Mapping[str, Any]) -> dict[str, Profile]:
    """Return the profiles of a document of name -> Profile.document()."""
    return {
        name: Profile(np.asarray(each["quantiles"], np.float64)) for name, each in document.items()
    }


def drift(trained: Profile, values: Float64) -> Drift | None:
    """Return how far values moved; None for fewer than ROWS_MIN. BadInput as profile_of."""
    if len(values) < ROWS_MIN:
        return None
    if not np.isfinite(values).all():
        raise BadInput("profile", "values are NaN or infinite", "leave such rows out")
    return Drift(psi(trained, values), ks(trained, values), len(values))


def psi(trained: Profile, values: Float64) -> float:
    """Return sum((now - then) * ln(now / then)) over BINS bins of equal share in training.

    Quantiles that coincide, as of a column with few values, make fewer bins.
    """
    step = GRID // BINS
    edges = np.unique(trained.quantiles[step:-1:step])
    then = _shares(trained.quantiles, edges)
    now = _shares(values, edges)
    return float(((now - then) * np.log(now / then)).sum())


def ks(trained: Profile, values: Float64) -> float:
    """Return the largest distance between the two distribution functions."""
    at = np.union1d(trained.quantiles, values)
    then = np.searchsorted(trained.quantiles, at, side="right") / len(trained.quantiles)
    now = np.searchsorted(np.sort(values), at, side="right") / len(values)
    return float(np.abs(then - now).max())


def _shares(values: Float64, edges: Float64) -> Float64:
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return np.asarray((counts / len(values)).clip(SHARE_MIN), np.float64)
