"""Make a model's challenger its champion where it meets the written criteria, and not else."""

from __future__ import annotations

from dataclasses import dataclass

from feature_repo.models.promotion import Criteria, Decision, decide
from feature_repo.models.registry import ROLES, Card, Registry, Version
from feature_repo.models.takes import require_scored
from lake.errors import BadInput, Damaged, WrongUse
from lake.hot.turn import turn
from lake.parts import ShowPart, by_parts, nobody

CHAMPION, CHALLENGER, SHADOW = ROLES


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
    """Decide about the challenger of a model and act on it; who was champion is shadow then.

    Where the two were trained on two releases, they are compared by what the challenger's training
    saw of the champion on rows that neither had seen. Raises WrongUse where it has none, or is
    champion already; BadInput as feature_repo.models.promotion.decide, or where nobody scores its
    features.
    """
    challenger = registry.find(name, CHALLENGER)
    if CHAMPION in challenger.roles:
        fault = f"version {challenger.version} is champion already"
        raise WrongUse(f"model {name}", fault, "train a challenger")
    known = [each for each in registry.versions(name) if CHAMPION in each.roles]
    champion = known[0] if known else None
    mine = registry.stored(challenger)[1]  # a card needs no learner
    require_scored(challenger, mine)
    theirs = registry.stored(champion)[1] if champion else None
    decision = _decided(mine, champion, theirs, criteria or Criteria())
    if decision.promote:
        registry.set_role(name, challenger.version, CHAMPION)
        if champion:
            registry.set_role(name, champion.version, SHADOW)
    return Promotion(challenger, champion, decision)


def promote_all(
    registry: Registry, dsn: str, criteria: Criteria | None = None, show: ShowPart = nobody
) -> list[str]:
    """Decide about every challenger that is not champion; return it in words.

    dsn: of the hot tier, where each model's turn is taken. What can't be compared stays as it is,
    and the words say so. show: is told how far it is.
    """
    waiting = [
        each.name
        for each in registry.versions()
        if CHALLENGER in each.roles and CHAMPION not in each.roles
    ]
    lines: list[str] = []
    for name in by_parts(waiting, show):
        with turn(dsn, f"model-{name}"):
            try:
                lines += promote(registry, name, criteria).lines()
            except (BadInput, Damaged, WrongUse) as error:
                lines.append(f"{name} stays as it is: {error}")
    return lines


def _decided(mine: Card, champion: Version | None, theirs: Card | None, by: Criteria) -> Decision:
    if champion is None or theirs is None:
        return decide(mine.metrics, None, by)
    if theirs.facts["release"] == mine.facts["release"]:
        return decide(mine.metrics, theirs.metrics, by)
    seen = mine.facts.get("beside") or {}
    if seen.get("champion") != champion.version:
        return decide(mine.metrics, theirs.metrics, by, same_release=False)
    metrics = {**mine.metrics, **seen["challenger_said"]}
    return decide(metrics, seen["champion_said"], by, same_release=False, unseen_rows=seen["rows"])
