"""What a feature is: a name, a version, and a pure function of its last bars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from feature_repo.kernels import Values

END_S = "end_s"
"""Input: the bar's end, in seconds since the epoch."""

BAR_INPUTS = frozenset(
    ("open", "high", "low", "close", "volume", "turnover", "trades", "buy_volume", "sell_volume")
) | {END_S}
"""Inputs that a bar gives; any other name is a feature's."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One definition, used by batch, live and online store.

    inputs: columns of bars, or other features, in the order of the function's arguments.
    lookback: bars that a value depends on, its own included; with one less it is null. They are the
    series' last bars as they are: a bucket without trades has no bar, and is stepped over.
    formula: in words of mathematics; source: who defined it so.
    function: float64 arrays, oldest bar first, to one as long; the same bits for the same last
    `lookback` bars. What comes out as NaN or infinite is null.
    """

    name: str
    version: int
    inputs: tuple[str, ...]
    lookback: int
    formula: str
    source: str
    function: Callable[..., Values]

    def __post_init__(self) -> None:
        assert self.version >= 1
        assert self.lookback >= 1
        assert self.name not in BAR_INPUTS
