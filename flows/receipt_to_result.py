"""A receipt becomes its result once more, and the two are compared."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from lake.errors import WrongUse
from lake.receipts.receipt import Difference, Receipt, differences

MAKERS: Mapping[str, str] = {
    "backtest": "flows.release_to_backtest",
    "model": "flows.features_to_model",
}
"""Kind of a receipt -> the module whose `again(home, receipt)` makes the result anew and returns
its receipt. It is loaded when it is needed: what a model needs takes seconds to load."""


def again(home: Path, receipt: Receipt) -> tuple[Receipt, list[Difference]]:
    """Make a receipt's result anew in a home; return the new receipt and where the two differ.

    Raises WrongUse for a kind that nobody makes, and what its maker raises.
    """
    module = MAKERS.get(receipt.kind)
    if module is None:
        raise WrongUse(f"receipt of a {receipt.kind}", "nobody makes one", f"{', '.join(MAKERS)}")
    found: Receipt = import_module(module).again(home, receipt)
    return found, differences(receipt, found)
