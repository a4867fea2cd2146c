"""What a version takes beside the features of bars: nobody scores it yet, so it gets no say."""

from __future__ import annotations

from feature_repo.models.registry import Card, Version
from lake.errors import BadInput


def beside_market(card: Card) -> str:
    """Return the sets beside market whose features a version takes, in words; "" where none."""
    return ", ".join((card.facts.get("source") or {}).get("beside") or ())


def require_scored(found: Version, card: Card) -> None:
    """Raise BadInput where neither the batch nor the live path has a version's features.

    As champion it would end the model's predictions.
    """
    if sets := beside_market(card):
        raise BadInput(
            f"model {found.name} {found.version}",
            f"takes features of {sets}, which neither `models score` nor the live path has, so it"
            " would predict nothing",
            "train one of market's features: ticklake train --features market",
        )
