"""What of one table joins a training set: by which keys, which columns, how old at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from lake.errors import WrongUse

US = timedelta(microseconds=1)

IDENTITY = ("ticker", "exchange", "market", "interval", "set_version")
"""Columns that tell series of one table apart; a join needs each by key or fixed, or only one."""

RECORDED_TIME = "recorded_time"
"""Column, where a table has it, of when a version was written: the last of those alike stands."""

FixedValue = str | int


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """Columns of a view of the lake that join by key and time.

    dataset: a view of lake.views.client.Client, `features_market`, or `lake.bars`;
    ttl: the longest age of a value, inclusive: event_time >= the row's time - ttl; not zero;
    keys: columns that a row and a value have in common; the first is what pieces are cut by;
    fixed: columns that must have this value, {"interval": "1m"};
    prefix: goes before the columns' names in the training set.
    Raises WrongUse for a ttl of nothing or less, no columns or no keys.
    """

    dataset: str
    columns: tuple[str, ...]
    ttl: timedelta
    keys: tuple[str, ...] = ("ticker",)
    fixed: Mapping[str, FixedValue] = field(default_factory=dict)
    prefix: str = ""
    event_time: str = "event_time"
    available_time: str = "available_time"

    def __post_init__(self) -> None:
        if self.ttl <= timedelta():
            raise WrongUse(self.dataset, f"a ttl of {self.ttl} joins nothing", "give a longer one")
        if not self.columns or not self.keys:
            raise WrongUse(self.dataset, "a join needs columns and keys", "name one at least")

    @property
    def ttl_us(self) -> int:
        """Return the ttl in microseconds."""
        return self.ttl // US

    @property
    def names(self) -> tuple[str, ...]:
        """Return the columns' names in the training set."""
        return tuple(self.prefix + column for column in self.columns)

    @property
    def read(self) -> tuple[str, ...]:
        """Return every column of the view that the join reads."""
        return (*self.keys, *self.fixed, self.event_time, self.available_time, *self.columns)
