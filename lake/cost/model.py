"""What a rate of events costs a month: bytes by tier from the contracts' ages, and cores.

A tier holds rate x share x bytes a row x the days that a row is in it, once it has run for as long
as its ages say: what is kept for good is reckoned at KEPT_DAYS. All functions are pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lake.contracts.contract import load
from lake.cost.assumptions import Assumptions

DAY_S = 86_400
MONTH_DAYS = 30.44
GB = 1e9
KEPT_DAYS = 3_650
"""Ten years, for what is never let go of."""

DISK_TIERS = ("hot", "compressed", "journal", "log")


@dataclass(frozen=True, slots=True)
class Cost:
    """Dollars a month by part; gigabytes by tier; cores."""

    dollars: Mapping[str, float]
    gigabytes: Mapping[str, float]
    cores: float

    @property
    def total(self) -> float:
        """Dollars a month in all."""
        return sum(self.dollars.values())

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "total": self.total}


@dataclass(frozen=True, slots=True)
class Lever:
    """A thing that can be done: what it saves a month after those before it, what is then to pay.

    needed: the budget is not met without it.
    """

    name: str
    saved: float
    total: float
    needed: bool


def days_in_tier(dataset: str, tier: str, *, compresses: bool) -> float:
    """Return the days that a row spends in a tier, by the contract.

    The lake holds a row from its first seconds on; a day leaves hot once it is over, which adds
    half a day on average, and the day that is under way.
    """
    ages = {name: KEPT_DAYS if age is None else age for name, age in _ages(dataset).items()}
    return {
        "hot": ages["hot"] + 1.0,
        "compressed": (ages["compressed"] - ages["hot"]) if compresses else 0,
        "lake": ages["lake"],
        "archive": ages["archive"] - ages["lake"],
    }[tier]


def _ages(dataset: str) -> Mapping[str, int | None]:
    return load(dataset).retention_days


def price_gb_month(tier: str, given: Assumptions) -> float:
    """Return what a gigabyte of a tier costs a month, one copy."""
    if tier in DISK_TIERS:
        return given.value("prices.disk_gb_month")
    return given.value("prices.archive_gb_month" if tier == "archive" else "prices.lake_gb_month")


def cost(events_per_s: float, given: Assumptions) -> Cost:
    """Return what a steady rate costs."""
    size = gigabytes(events_per_s, given)
    copies = given.numbers("copies")
    dollars = {
        tier: gb * price_gb_month(tier, given) * copies.get(_copied_as(tier), 1)
        for tier, gb in size.items()
    }
    cores = cores_of(events_per_s, given)
    month_s = MONTH_DAYS * DAY_S
    dollars["requests"] = (
        given.value("requests_per_s") * month_s / 1e6 * given.value("prices.requests_million")
    )
    dollars["compute"] = cores * MONTH_DAYS * 24 * given.value("prices.core_hour")
    dollars["egress"] = given.value("egress_gb_month") * given.value("prices.egress_gb")
    dollars["fixed"] = given.value("fixed_dollars_month")
    return Cost(dollars, size, cores)


def gigabytes(events_per_s: float, given: Assumptions) -> dict[str, float]:
    """Return what each tier holds once it is full."""
    compresses = bool(given.value("hot_compresses"))
    found = dict.fromkeys(("hot", "compressed", "lake", "archive"), 0.0)
    for dataset, share in given.numbers("mix").items():
        rows_a_day = events_per_s * share * DAY_S
        for tier in found:
            kind = "hot" if tier == "compressed" else tier
            size = given.value(f"bytes_per_row.{kind}.{dataset}")
            if tier == "compressed":
                size *= given.value("compressed_part")
            days = days_in_tier(dataset, tier, compresses=compresses)
            found[tier] += rows_a_day * days * size / GB
    found["lake"] *= 1 + given.value("snapshots_part")
    for name in ("journal", "log"):
        rate = events_per_s * given.value(f"{name}_bytes_per_event")
        found[name] = rate * given.value(f"{name}_hours") * 3_600 / GB
    return found


def cores_of(events_per_s: float, given: Assumptions) -> float:
    """Return the cores to rent, whole ones."""
    busy = events_per_s * sum(given.numbers("cpu_us_per_event").values()) / 1e6
    return math.ceil(busy / given.value("cpu_used") + given.value("cpu_spare"))


def levers(events_per_s: float, given: Assumptions) -> list[Lever]:
    """Return what can be done, each on top of those before it."""
    found: list[Lever] = []
    now = cost(events_per_s, given).total
    budget = given.value("budget_dollars_month")
    for name, values in given.levers():
        given = given.changed(values)
        after = cost(events_per_s, given).total
        found.append(Lever(name, now - after, after, needed=now > budget))
        now = after
    return found


def _copied_as(tier: str) -> str:
    return "hot" if tier in ("compressed", "log") else tier
