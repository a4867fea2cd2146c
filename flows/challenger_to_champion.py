"""Make a model's challenger its champion where it meets the written criteria, and not else."""

from __future__ import annotations

from dataclasses import dataclass

from feature_repo.models.promotion import Criteria, Decision, decide
from feature_repo.models.registry import Registry, Version
from lake.errors import WrongUse

CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(frozen=True, slots=True)
class Promotion:
    """What was decided, about which version, against which; None: there was no champion."""

    challenger: Version
    champion: Version | None
    decision: Decision

    def lines(self) -> list[str]:
        """Return it in words."""
        name, number = self.challenger.name, self.challenger.version
        rival = f"version {self.champion.version}" if self.champion else "none"
        verdict = "is champion now" if self.decision.promote else "stays challenger"
        first = f"{name} version {number} {verdict}; champion before: {rival}"
        return [first, *(f"  {reason}" for reason in self.decision.reasons)]


def promote(registry: Registry, name: str, criteria: Criteria | None = None) -> Promotion:
    """Decide about the challenger of a model and act on it.

    Raises WrongUse where it has none, or is champion already; BadInput as
    feature_repo.models.promotion.decide.
    """
    challenger = registry.find(name, CHALLENGER)
    if CHAMPION in challenger.roles:
        fault = f"version {challenger.version} is champion already"
        raise WrongUse(f"model {name}", fault, "train a challenger")
    known = [each for each in registry.versions(name) if CHAMPION in each.roles]
    champion = known[0] if known else None
    mine = registry.load(challenger)[1]
    theirs = registry.load(champion)[1] if champion else None
    same = theirs is None or theirs.facts["release"] == mine.facts["release"]
    decision = decide(
        mine.metrics,
        theirs.metrics if theirs else None,
        criteria or Criteria(),
        same_release=same,
    )
    if decision.promote:
        registry.set_role(name, challenger.version, CHAMPION)
    return Promotion(challenger, champion, decision)
