"""Which version of a model decides: pure, and the same for the same unit, whoever asks.

A unit is an instrument, or one minute of it (a request). Whom it goes to is a hash of names and
seed, so nothing has to be remembered: a canary that grows keeps whom it had, an experiment is
sticky, and a bandit's draw is made again from its seed and the outcomes that it saw.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from feature_repo.trading.market import Instrument
from lake.errors import BadInput

CHAMPION, CHALLENGER = "champion", "challenger"
ARMS = (CHAMPION, CHALLENGER)
"""Roles that may decide; a shadow never does."""

CANARY, EXPERIMENT, BANDIT = "canary", "ab", "bandit"
KINDS = (CHAMPION, CANARY, EXPERIMENT, BANDIT)
INSTRUMENT, REQUEST = "instrument", "request"
FLOOR_MAX = 1 / len(ARMS)
NAME_MAX = 100
SEED_MAX = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How often a version's sign was that of its label, of those whose label had one."""

    right: int = 0
    wrong: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """How units are shared out. share: of the challenger, 0 to 1 (canary, ab).

    by: instrument or request. experiment: name of an ab. floor: least share of each arm of a
    bandit, 0 to 1/2; seed: of its draws. BadInput for what is out of these bounds.
    """

    kind: str = CHAMPION
    share: float = 0.0
    by: str = INSTRUMENT
    experiment: str = ""
    floor: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        faults = (
            (self.kind not in KINDS, f"kind {self.kind!r} is none of {', '.join(KINDS)}"),
            (self.by not in (INSTRUMENT, REQUEST), f"by {self.by!r} is no unit"),
            (not 0 <= self.share <= 1, f"share {self.share} is not from 0 to 1"),
            (not 0 <= self.floor <= FLOOR_MAX, f"floor {self.floor} is not from 0 to {FLOOR_MAX}"),
            (not 0 <= self.seed <= SEED_MAX, f"seed {self.seed} is not from 0 to {SEED_MAX}"),
            (len(self.experiment) > NAME_MAX, f"experiment's name is above {NAME_MAX} letters"),
            (self.kind == EXPERIMENT and not self.experiment, "an experiment needs a name"),
            (
                self.kind == EXPERIMENT and self.by != INSTRUMENT,
                "an experiment is by instrument: minutes would not be sticky",
            ),
        )
        for wrong, fault in faults:
            if wrong:
                raise BadInput("route", fault, "see: ticklake models route --help")

    def text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    def words(self) -> str:
        """Return it in words."""
        if self.kind == CHAMPION:
            return "all to the champion"
        if self.kind == BANDIT:
            return f"Thompson sampling by {self.by}, floor {self.floor:g}, seed {self.seed}"
        of = f"experiment {self.experiment}" if self.kind == EXPERIMENT else "canary"
        return f"{of}: {self.share:.1%} of {self.by}s to the challenger"


def route_of(text: str) -> Route:
    """Return the route that text() said; BadInput for anything else."""
    try:
        document: Any = json.loads(text)
        known = {each.name: type(getattr(Route(), each.name)) for each in fields(Route)}
        if not isinstance(document, dict) or set(document) - set(known):
            raise ValueError(f"fields are {', '.join(known)}")
        for name, value in document.items():
            if isinstance(value, bool) or not isinstance(
                value, (int, float) if known[name] is float else known[name]
            ):
                raise ValueError(f"{name} is {value!r}")
        return Route(**document)
    except ValueError as error:
        raise BadInput(
            "route", f"can't be read ({error})", "set it: ticklake models route"
        ) from error


def routed(
    route: Route,
    model: str,
    instrument: Instrument,
    t_us: int,
    outcomes: Mapping[str, Outcomes],
) -> str:
    """Return the role that decides for an instrument's minute (its end, UTC microseconds).

    outcomes: role -> how it came out so far; a role that is not there can't be sampled.
    """
    unit = (*instrument, str(t_us) if route.by == REQUEST else "")
    if route.kind == BANDIT:
        return _sampled(route, (model, *unit), outcomes)
    salt = route.experiment if route.kind == EXPERIMENT else CANARY
    shared = route.kind in (CANARY, EXPERIMENT) and part(salt, model, *unit) < route.share
    return CHALLENGER if shared else CHAMPION


def part(*words: str) -> float:
    """Return a number from 0 to below 1 that follows from words alone, and evenly."""
    return (_bits(*words) >> 11) / 2**53


def _sampled(route: Route, unit: tuple[str, ...], outcomes: Mapping[str, Outcomes]) -> str:
    """Draw an arm: each with the floor's share, else the one whose sampled rate is best."""
    arms = [role for role in ARMS if role in outcomes]
    if not arms:
        return CHAMPION
    at = part("floor", str(route.seed), *unit)
    if at < route.floor * len(arms):
        return arms[min(len(arms) - 1, int(at / route.floor))]
    chance = random.Random(_bits("draw", str(route.seed), *unit))
    drawn = {
        role: chance.betavariate(1 + outcomes[role].right, 1 + outcomes[role].wrong)
        for role in arms
    }
    return max(arms, key=lambda role: drawn[role])


def _bits(*words: str) -> int:
    """Return 64 bits of a hash; words are told apart by their lengths."""
    told = b"".join(len(raw).to_bytes(4) + raw for raw in (word.encode() for word in words))
    return int.from_bytes(hashlib.blake2b(told, digest_size=8).digest())
