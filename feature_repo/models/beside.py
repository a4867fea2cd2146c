"""A challenger beside the champion on rows that neither was taught: the one fair comparison.

The challenger's walk-forward tests predict rows that its folds had not seen. Of those, the ones
that came after all that the champion knew are unseen by both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from feature_repo.models.learner import Model, Recipe, predicted
from feature_repo.models.rows import Rows
from feature_repo.models.training import Tested
from feature_repo.models.trees import judged
from lake.errors import BadInput


@dataclass(frozen=True, slots=True)
class Beside:
    """What both said of the same rows; metrics as feature_repo.models.trees.judged has them."""

    champion: int
    rows: int
    challenger_said: Mapping[str, float]
    champion_said: Mapping[str, float]

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def beside(
    rows: Rows, tested: Tested, champion: int, model: Model, recipe: Recipe, since_us: int
) -> Beside | None:
    """Return how the champion, a version of this number, predicts what the challenger's tests did.

    since_us: until when the champion knew labels, in microseconds since the epoch; rows after it
    are compared; None where there are none. BadInput where it takes other features than the rows.
    """
    if model.names != rows.names:
        raise BadInput(
            f"champion {champion}",
            f"takes {', '.join(model.names)}, not {', '.join(rows.names)}",
            "train a challenger of its features, or promote by hand",
        )
    samples = recipe.samples(rows)
    newer = np.flatnonzero(rows.event_us[tested.places] > since_us)
    _, mine, theirs = np.intersect1d(tested.places[newer], samples.places, return_indices=True)
    if not len(mine):
        return None
    seen = samples.rows.of(theirs)
    return Beside(
        champion,
        len(mine),
        judged(tested.probabilities[newer[mine]], seen),
        judged(predicted(model, samples, theirs), seen),
    )
