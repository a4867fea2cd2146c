"""Walk-forward splits: train on what was known, test on what came next.

Lopez de Prado (2018), ch. 7: a row's label looks ahead, so that a row just before the test knows
part of it. Such rows are purged, and an embargo widens the gap for what features still carry over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lake.errors import BadInput, WrongUse

Int64 = npt.NDArray[np.int64]

FOLDS_MAX = 100


@dataclass(frozen=True, slots=True)
class Fold:
    """Places of rows to train on and to test on, in the order they came."""

    train: Int64
    test: Int64


def walk_forward(
    event_us: Int64, available_us: Int64, folds: int, *, embargo_us: int = 0
) -> list[Fold]:
    """Return folds whose tests follow each other and together hold all rows but the first part.

    The distinct times are cut into folds + 1 parts of equal number; each but the first is a test
    once. A row is trained on where its label was known (available_us) at least embargo_us before
    the test's first event_us, exclusive. Times are microseconds since the epoch.
    Raises WrongUse for no such number of folds, BadInput where a test has nothing before.
    """
    if not 1 <= folds <= FOLDS_MAX or embargo_us < 0:
        raise WrongUse(f"{folds} folds, embargo {embargo_us}", "out of bounds", f"1 to {FOLDS_MAX}")
    times = np.unique(event_us)
    if len(times) <= folds:
        raise BadInput(
            "training rows", f"have {len(times):,} times for {folds} folds", "take a longer span"
        )
    starts = times[np.arange(1, folds + 1) * len(times) // (folds + 1)]
    ends = [*starts[1:], times[-1] + 1]
    made = [
        Fold(
            before(available_us, event_us, int(start), embargo_us),
            np.flatnonzero((event_us >= start) & (event_us < end)),
        )
        for start, end in zip(starts, ends, strict=True)
    ]
    if not all(len(fold.train) for fold in made):
        raise BadInput(
            "training rows",
            "a test has nothing before it whose labels were known by then",
            "take a longer span, fewer folds, or a shorter horizon or embargo",
        )
    return made


def before(available_us: Int64, event_us: Int64, start_us: int, embargo_us: int = 0) -> Int64:
    """Return the rows before start_us whose label was known embargo_us before it, exclusive."""
    return np.flatnonzero((event_us < start_us) & (available_us < start_us - embargo_us))
