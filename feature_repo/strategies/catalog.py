"""The strategies there are, made by name from what a caller writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any

from feature_repo.strategies.buy_and_hold import BuyAndHold
from feature_repo.strategies.mean_reversion import MeanReversion
from feature_repo.strategies.model_signal import ModelSignal
from feature_repo.strategies.moving_average_cross import MovingAverageCross
from feature_repo.trading.money import units
from feature_repo.trading.strategy import Strategy
from lake.errors import WrongUse

STRATEGIES: Mapping[str, type[Any]] = {
    each.name: each for each in (BuyAndHold, MovingAverageCross, MeanReversion, ModelSignal)
}

IN_UNITS = ("size",)
"""Parameters that are amounts: written as decimals, held as units of 1e-10."""

WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def make(name: str, given: Mapping[str, str]) -> Strategy:
    """Return a new strategy; WrongUse for an unknown one, or a parameter it has not.

    given: parameters as texts; what is not given is the strategy's default.
    """
    kind = STRATEGIES.get(name)
    if kind is None:
        raise WrongUse(f"strategy {name}", "there is none", f"one of {', '.join(STRATEGIES)}")
    known = {each.name: each for each in fields(kind) if each.init}
    for parameter in given:
        if parameter not in known:
            raise WrongUse(
                f"parameter {parameter}", f"is none of {name}", f"it takes {', '.join(known)}"
            )
    made: Strategy = kind(**{key: _value(known[key], text) for key, text in given.items()})
    return made


def _value(parameter: Field[Any], text: str) -> object:
    if parameter.name in IN_UNITS:
        return units(text)
    kind: Any = type(parameter.default)
    try:
        return WORDS[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError) as error:
        fault = f"is no {kind.__name__}"
        raise WrongUse(f"{parameter.name}={text}", fault, "write it so") from error
