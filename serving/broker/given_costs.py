"""What trading on paper costs, by hand and by strategies, as a home's setting gives it."""

from __future__ import annotations

from dataclasses import replace

from feature_repo.trading.costs import Costs
from feature_repo.trading.money import ppm
from lake.errors import BadInput, TicklakeError
from lake.settings import variable

COSTS = Costs(maker=0, taker=1_000, latency_us=5_000)
"""10 basis points of who takes, and 5 ms to the venue."""


def costs_given(slippage_bp: str) -> Costs:
    """Return COSTS with so many basis points of slippage, as a backtest has them.

    Raises BadInput for what is no number of them, 0 to below 10,000.
    """
    try:
        return replace(COSTS, slippage=ppm(slippage_bp))
    except TicklakeError as error:
        fault = f"{slippage_bp!r}: {error.fault}"
        raise BadInput(variable("slippage_bp"), fault, error.remedy) from error
