"""What a model says of an instrument, as it is told to whoever listens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from feature_repo.trading.market import Instrument
from lake.errors import BadInput

_ID = re.compile(r"(.+?)/(\d+)/([^/]+)/([^/]+)/(.+)/(\d+)/(\d+)")
INSTRUMENT = ("ticker", "exchange", "market")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of an instrument. prediction: of its label, in that label's unit.

    confidence: between 0 and 1. known_us: when the last of its features was known. contributions:
    feature -> its part in the prediction (SHAP), where they were asked for; base: the rest.
    fallback: why another version than the one that is routed to says so; "" where none does.
    """

    instrument: Instrument
    prediction: float
    confidence: float
    model: str
    version: str
    role: str
    known_us: int
    made_us: int
    prediction_id: str = ""
    fallback: str = ""
    base: float | None = None
    contributions: Mapping[str, float] = field(default_factory=dict)


NAMES = tuple(each.name for each in fields(Prediction))


def id_of(model: str, version: int, instrument: Instrument, t_us: int, known_us: int) -> str:
    """Return a prediction's name: what tells its row of model_predictions from every other."""
    ticker, exchange, market = instrument
    return f"{model}/{version}/{exchange}/{market}/{ticker}/{t_us}/{known_us}"


class Key(NamedTuple):
    """What a prediction's name says: who spoke of which row of features. Times as of id_of."""

    model: str
    version: int
    instrument: Instrument
    t_us: int
    known_us: int


def key_of(prediction_id: str) -> Key:
    """Return what id_of made a name of; BadInput for anything else."""
    found = _ID.fullmatch(prediction_id)
    if found is None:
        raise BadInput(f"prediction {prediction_id[:100]!r}", "is no prediction's id")
    model, version, exchange, market, ticker, t_us, known_us = found.groups()
    where = Instrument(ticker, exchange, market)
    return Key(model, int(version), where, int(t_us), int(known_us))


def as_told(said: Prediction) -> dict[str, Any]:
    """Return a prediction as JSON has it."""
    own = {"instrument": list(said.instrument), "contributions": dict(said.contributions)}
    return {name: getattr(said, name) for name in NAMES} | own


def of_told(rows: Sequence[Mapping[str, Any]]) -> list[Prediction]:
    """Return the predictions that as_told made JSON of."""
    return [Prediction(**{**row, "instrument": Instrument(*row["instrument"])}) for row in rows]
