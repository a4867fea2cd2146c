"""The limits of a home's orders, by hand and by strategies, as its setting gives them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from feature_repo.trading.limits import Limits
from feature_repo.trading.money import UNIT, UNITS_MAX, units
from lake.errors import BadInput, TicklakeError
from lake.settings import variable
from serving.risk.limits import RiskLimits

OFF = "off"
DEFAULTS = RiskLimits(
    order=Limits(size=500_000_000 * UNIT, exposure=250_000 * UNIT, daily_loss=10_000 * UNIT),
    position=500_000_000 * UNIT,
    total_exposure=500_000 * UNIT,
    order_value=100_000 * UNIT,
)
"""For accounts of 100,000 to begin with: an order of all of it, and a day that loses a tenth."""

OF_ORDER = {"order_size": "size", "exposure": "exposure", "daily_loss": "daily_loss"}
OF_ALL = ("order_value", "position", "total_exposure")
NAMES = (*OF_ORDER, *OF_ALL)


def limits_given(text: str, beside: RiskLimits = DEFAULTS) -> RiskLimits:
    """Return limits of a text as daily_loss=5000,position=2.5; "off" for none of a kind.

    beside: holds for what the text does not name. Raises BadInput for anything else.
    """
    found = beside
    for each in filter(None, (part.strip() for part in text.split(","))):
        name, _, amount = (part.strip() for part in each.partition("="))
        if name not in NAMES:
            remedy = f"NAME=AMOUNT,...: of {', '.join(NAMES)}"
            raise BadInput(variable("limits"), f"{each!r} is no limit", remedy)
        value = None if amount == OFF else _amount(each, amount)
        change: dict[str, Any] = {OF_ORDER.get(name, name): value}
        if name in OF_ORDER:
            change = {"order": replace(found.order, **change)}
        found = replace(found, **change)
    return found


def _amount(each: str, text: str) -> int:
    try:
        value = units(text)
    except TicklakeError as error:
        raise BadInput(variable("limits"), f"{each!r}: {error.fault}", error.remedy) from error
    if not 0 < value <= UNITS_MAX:
        remedy = f"above 0, at most {UNITS_MAX // UNIT:,}, or {OFF}"
        raise BadInput(variable("limits"), f"{each!r} is out of bounds", remedy)
    return value
