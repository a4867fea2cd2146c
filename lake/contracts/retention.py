"""What a contract's ages may be: later tiers keep longer, orders stay six years at least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lake.errors import BadInput

TIERS = ("hot", "compressed", "lake", "archive")

ORDER_DATASETS = frozenset(
    {"order_events", "position_events", "orders", "fills", "positions", "positions_history"}
    | {"portfolio_snapshots"}
)

ORDER_DAYS_MIN = 6 * 365 + 2
"""Six years with their leap days: what brokers' records must be kept for (17 CFR 240.17a-4)."""


def read_retention(dataset: str, promises: Sequence[Mapping[str, Any]]) -> Mapping[str, int | None]:
    """Return tier -> age of the promises of a contract (ODCS slaProperties); BadInput as below."""
    said = {each["valueExt"]: each["value"] for each in promises if each["property"] == "retention"}
    days = {tier: None if said[tier] == "kept" else int(said[tier]) for tier in TIERS}
    check_retention(dataset, days)
    return days


def check_retention(dataset: str, days: Mapping[str, int | None]) -> None:
    """Raise BadInput for ages that no tier could keep, or that let orders go before their time.

    days: tier -> age at which a row leaves it, in the order of the tiers; None: kept.
    """
    before: tuple[str, int] = ("", 0)
    kept = ""
    for tier, age in days.items():
        if age is None:
            kept = kept or tier
        elif kept:
            fault = f"retention of {tier} is {age} d, but {kept} keeps for good"
            raise BadInput(dataset, fault, "write `kept` there too")
        elif age < before[1]:
            fault = f"retention of {tier} is {age} d, less than {before[0]}'s {before[1]} d"
            raise BadInput(dataset, fault, "an age counts from the event: a later tier's is higher")
        else:
            before = (tier, age)
    if dataset in ORDER_DATASETS and not kept and before[1] < ORDER_DAYS_MIN:
        fault = f"orders go after {before[1]} d, before the six years of the law"
        raise BadInput(dataset, fault, f"at least {ORDER_DAYS_MIN} d, or kept")
