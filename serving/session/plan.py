"""What a session is, as recorded at its start: whoever has this and its rows has its orders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from feature_repo.strategies.catalog import STRATEGIES, make
from feature_repo.trading.account import Account
from feature_repo.trading.costs import Costs
from feature_repo.trading.limits import DAY_US, Limits
from feature_repo.trading.market import Instrument
from feature_repo.trading.money import MILLION, UNIT, times
from feature_repo.trading.strategy import Strategy
from lake.errors import Damaged, WrongUse
from serving.broker.given_costs import COSTS
from serving.risk.limits import RiskLimits

STRATEGIES_MAX = 16
NOT_YET = {"spike": None, "order_value": None, "price_ahead_us": None}
"""Limits that sessions of before had not: they are decided again without."""

WITH_ROWS = ("model-signal",)
"""Strategies that act on rows of features or predictions; for others none are made."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Strategies with their parameters as texts, and the terms that each trades on.

    A strategy's account has its name. cash: of an account that the ledger does not know yet, in
    units of 1e-10. limits: of an account. share: what the session has of its accounts, whose other
    shards have sessions of their own; in millionths.
    """

    strategies: Mapping[str, Mapping[str, str]]
    cash: int = 100_000 * UNIT
    costs: Costs = COSTS
    limits: RiskLimits = field(default_factory=RiskLimits)
    share: int = MILLION

    def __post_init__(self) -> None:
        if not 0 < self.share <= MILLION:
            raise WrongUse("session", f"has a share of {self.share}", f"1 to {MILLION:,}")
        if not 0 < len(self.strategies) <= STRATEGIES_MAX:
            raise WrongUse("session", "has no strategy, or too many", f"1 to {STRATEGIES_MAX}")
        self.made()

    def made(self) -> list[Strategy]:
        """Return the strategies, new; WrongUse for an unknown one or a wrong parameter."""
        return [make(name, params) for name, params in self.strategies.items()]

    @property
    def limits_here(self) -> RiskLimits:
        """Return the limits of the session: its share of those that hold for a whole account.

        These are the day's loss, the worth of all positions, and the rate. The others are of one
        order or instrument, which is of one shard.
        """
        limits = self.limits
        return replace(
            limits,
            order=replace(limits.order, daily_loss=self._part(limits.order.daily_loss)),
            total_exposure=self._part(limits.total_exposure),
            orders=None if limits.orders is None else max(1, self._part(limits.orders) or 0),
        )

    def _part(self, limit: int | None) -> int | None:
        return None if limit is None else limit * self.share // MILLION

    @property
    def wants_rows(self) -> bool:
        """Tell whether a strategy acts on features or predictions."""
        return any(name in WITH_ROWS for name in self.strategies)


@dataclass(frozen=True, slots=True)
class Held:
    """A position with which a session begins; amounts in units, price the last known."""

    size: int
    cost: int
    price: int


@dataclass(frozen=True, slots=True)
class Opening:
    """What a session has of an account when it begins.

    cash: its share. held: all that the account holds, since an instrument may have come from
    another shard; elsewhere: of that, what sessions of other shards traded last. began: what it
    was worth as the UTC day of the start began, which the day's loss counts from; None: what it is
    worth with the session's first row.
    """

    cash: int
    held: Mapping[Instrument, Held] = field(default_factory=dict)
    elsewhere: frozenset[Instrument] = frozenset()
    began: int | None = None

    @property
    def worth(self) -> int:
        """Return what it is worth at the prices known last."""
        return self.cash + sum(times(each.price, each.size) for each in self.held.values())

    def enter(self, account: Account) -> None:
        """Give it to an account that has nothing yet."""
        account.cash = self.cash
        for instrument, each in self.held.items():
            account.positions[instrument] = each.size
            account.costs[instrument] = each.cost
            account.marks[instrument] = each.price


@dataclass(frozen=True, slots=True)
class Start:
    """A session of one shard within one UTC day. Times are UTC microseconds.

    first_frame: the first that it takes; epoch: of whoever wrote the journal then. warm: digest of
    what it is warmed up with, "" for nothing; code: version of the code.
    """

    session: str
    shard: int
    epoch: int
    first_frame: int
    started_us: int
    plan: Plan
    openings: Mapping[str, Opening]
    warm: str = ""
    code: str = ""

    @property
    def day_end_us(self) -> int:
        """Return the first moment that is not its day's any more."""
        return (self.started_us // DAY_US + 1) * DAY_US

    def document(self) -> dict[str, Any]:
        """Return it as JSON keeps it."""
        plan, risk = self.plan, asdict(self.plan.limits)
        return {
            "shard": self.shard,
            "epoch": self.epoch,
            "first_frame": self.first_frame,
            "started_us": self.started_us,
            "strategies": {name: dict(params) for name, params in plan.strategies.items()},
            "cash": plan.cash,
            "costs": asdict(plan.costs),
            "limits": risk,
            "share": plan.share,
            "openings": {
                account: {
                    "cash": each.cash,
                    "held": [[*key, *_held(held)] for key, held in each.held.items()],
                    "elsewhere": sorted(map(list, each.elsewhere)),
                    "began": each.began,
                }
                for account, each in self.openings.items()
            },
            "warm": self.warm,
            "code": self.code,
        }


def start_of(session: str, said: Mapping[str, Any]) -> Start:
    """Return the start that document() says; raises Damaged for anything else."""
    try:
        risk = NOT_YET | said["limits"]
        limits = RiskLimits(**risk | {"order": Limits(**risk["order"])})
        terms = said["cash"], Costs(**said["costs"]), limits, said.get("share", MILLION)
        plan = Plan(said["strategies"], *terms)
        openings = {
            account: Opening(
                each["cash"],
                {Instrument(*row[:3]): Held(*row[3:]) for row in each["held"]},
                frozenset(Instrument(*row) for row in each.get("elsewhere", ())),
                each.get("began"),
            )
            for account, each in said["openings"].items()
        }
        names = ("shard", "epoch", "first_frame", "started_us")
        shard, epoch, first_frame, started_us = (int(said[name]) for name in names)
        where = shard, epoch, first_frame, started_us
        return Start(session, *where, plan, openings, said["warm"], said["code"])
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"session {session}", f"its start can't be read ({error})", "") from error


def plan_of_words(words: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Return strategies and parameters of words as moving-average-cross:fast=5,slow=20."""
    found: dict[str, dict[str, str]] = {}
    for word in words:
        name, _, rest = word.partition(":")
        if name not in STRATEGIES or name in found:
            raise WrongUse(f"strategy {name}", "is none, or twice", f"of {', '.join(STRATEGIES)}")
        pairs = [each.partition("=") for each in rest.split(",") if each]
        if any(not key or not equals for key, equals, _ in pairs):
            raise WrongUse(f"strategy {word}", "has no parameters so", "write NAME:K=V,K=V")
        found[name] = {key: value for key, _, value in pairs}
    return found


def _held(held: Held) -> tuple[int, int, int]:
    return held.size, held.cost, held.price
