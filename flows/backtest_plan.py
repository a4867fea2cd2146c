"""What a backtest is asked to do, whole and as JSON, so that a receipt can ask for it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from decimal import Decimal
from itertools import product
from typing import Any

from feature_repo.trading.costs import Costs
from feature_repo.trading.limits import Limits
from feature_repo.trading.money import units
from lake.bars.kernel import WIDTHS_US
from lake.errors import BadInput, WrongUse

TRIALS_MAX = 10_000
"""Trials of one sweep."""

TICKERS_MAX = 1_000
FEEDS = ("bars", "ticks")


@dataclass(frozen=True, slots=True)
class Plan:
    """strategy: its name; params: by name, as texts; sweep: name -> the values tried, as texts.

    first_us, last_us: event times, [first, last), microseconds since the epoch. exchange, market:
    None for all. feed: bars of the interval, or quotes and trades. delay_us: from a bar's end to
    when it is known at the earliest. cash and the limits in units of 1e-10; costs in millionths.
    funding: let perpetuals pay it. predictions: a Parquet file for strategies that follow a model;
    "" for none.
    """

    strategy: str
    release: str
    tickers: tuple[str, ...]
    first_us: int
    last_us: int
    exchange: str | None = None
    market: str | None = None
    feed: str = "bars"
    interval: str = "1m"
    delay_us: int = 0
    params: Mapping[str, str] = field(default_factory=dict)
    sweep: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cash: int = units("1000000")
    costs: Costs = field(default_factory=Costs)
    limits: Limits = field(default_factory=Limits)
    funding: bool = False
    predictions: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.first_us >= self.last_us:
            raise WrongUse("backtest", "--to is not after --from", "give a stretch of time")
        if self.interval not in WIDTHS_US:
            raise WrongUse(f"interval {self.interval}", "is none", f"one of {', '.join(WIDTHS_US)}")
        if self.feed not in FEEDS:
            raise WrongUse(f"feed {self.feed}", "is none", f"one of {', '.join(FEEDS)}")
        if not 0 < len(self.tickers) <= TICKERS_MAX:
            raise WrongUse("backtest", "names no ticker", f"1 to {TICKERS_MAX:,} of --ticker")
        if self.cash <= 0:
            raise WrongUse("backtest", "has no cash", "give some")
        if self.trials > TRIALS_MAX:
            fault = f"are {self.trials:,} trials"
            raise WrongUse("sweep", fault, f"{TRIALS_MAX:,} at most: take larger steps")

    @property
    def width_us(self) -> int:
        """Return the length of its bars."""
        return WIDTHS_US[self.interval]

    @property
    def trials(self) -> int:
        """Return how many runs it is."""
        count = 1
        for values in self.sweep.values():
            count *= len(values)
        return count

    def choices(self) -> Iterator[dict[str, str]]:
        """Yield the parameters of each trial, the last named changing first."""
        for values in product(*self.sweep.values()):
            yield {**self.params, **dict(zip(self.sweep, values, strict=True))}

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            **{each.name: getattr(self, each.name) for each in fields(Plan)},
            "tickers": list(self.tickers),
            "params": dict(self.params),
            "sweep": {name: list(values) for name, values in self.sweep.items()},
            "costs": asdict(self.costs),
            "limits": asdict(self.limits),
        }


def plan_of(document: Mapping[str, Any]) -> Plan:
    """Return the plan of a document; BadInput where it is none of ours."""
    try:
        return Plan(
            **{
                **document,
                "tickers": tuple(document["tickers"]),
                "sweep": {name: tuple(values) for name, values in document["sweep"].items()},
                "costs": Costs(**document["costs"]),
                "limits": Limits(**document["limits"]),
            }
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput("backtest's config", f"can't be read ({error})", "take another") from error


def values_of(text: str) -> tuple[str, ...]:
    """Return the values that a sweep's text says: 5:50:5, both ends inclusive, or 5,10,20."""
    if ":" not in text:
        return tuple(each.strip() for each in text.split(",") if each.strip())
    words = text.split(":")
    if len(words) > 3:
        raise WrongUse(f"sweep {text}", "is no stretch", "write FIRST:LAST:STEP, as 5:50:5")
    first, last, step = (units(each) for each in (*words, "1")[:3])
    if step <= 0 or last < first or (last - first) // step >= TRIALS_MAX:
        raise WrongUse(f"sweep {text}", "is no stretch", "write FIRST:LAST:STEP, as 5:50:5")
    return tuple(_text(first + n * step) for n in range((last - first) // step + 1))


def _text(amount: int) -> str:
    return f"{Decimal(amount).scaleb(-10).normalize():f}"
