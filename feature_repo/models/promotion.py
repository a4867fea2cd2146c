"""Which model is to be in use: written criteria, decided on what tests on unseen time said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lake.errors import BadInput


@dataclass(frozen=True, slots=True)
class Criteria:
    """What a challenger must show, on the same release as the champion.

    log_loss_gain: least part by which its log loss is below the champion's, 0.001 is a thousandth.
    correlation_min: least correlation of predictions with returns. rows_min: rows trained on.
    unseen_rows_min: rows that both are compared on, where those are not of the same tests.
    """

    log_loss_gain: float = 0.001
    correlation_min: float = 0.0
    rows_min: int = 1_000
    unseen_rows_min: int = 500


@dataclass(frozen=True, slots=True)
class Decision:
    """promote: make the challenger champion; reasons: each criterion in words, met or not."""

    promote: bool
    reasons: tuple[str, ...]


def decide(
    challenger: Mapping[str, float],
    champion: Mapping[str, float] | None,
    criteria: Criteria,
    *,
    same_release: bool = True,
    unseen_rows: int | None = None,
) -> Decision:
    """Return whether a challenger takes over; without a champion its own worth alone decides.

    Metrics are those of feature_repo.models.training. unseen_rows: rows that came after all that
    the champion knew, on which alone both were judged; None: each by its own tests. Raises BadInput
    where a metric is missing, or was made on another release: such numbers can't be compared.
    """
    for who, metrics in (("challenger", challenger), ("champion", champion)):
        needed = {"log_loss", "correlation"} | ({"rows"} if who == "challenger" else set())
        if metrics is not None and needed - set(metrics):
            lacks = ", ".join(sorted(needed - set(metrics)))
            raise BadInput(f"metrics of the {who}", f"lack {lacks}", "train it again")
    if champion is not None and not same_release and unseen_rows is None:
        raise BadInput(
            "models", "were tested on two releases", "train the champion again on the newer one"
        )
    met = [
        (
            challenger["rows"] >= criteria.rows_min,
            f"{challenger['rows']:,.0f} rows, at least {criteria.rows_min:,}",
        ),
        (
            challenger["correlation"] > criteria.correlation_min,
            f"correlation {challenger['correlation']:.4f}, above {criteria.correlation_min:.4f}",
        ),
    ]
    if champion is not None:
        most = champion["log_loss"] * (1 - criteria.log_loss_gain)
        said = f"log loss {challenger['log_loss']:.5f}, at most {most:.5f}"
        met.append((challenger["log_loss"] <= most, said))
    if unseen_rows is not None:
        said = f"{unseen_rows:,} rows unseen by both, at least {criteria.unseen_rows_min:,}"
        met.append((unseen_rows >= criteria.unseen_rows_min, said))
    reasons = tuple(f"{'met' if good else 'NOT met'}: {said}" for good, said in met)
    return Decision(all(good for good, _ in met), reasons)
