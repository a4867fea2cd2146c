"""Proof that a strategy does not peek: without what came later, it does the same up to there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from feature_repo.trading.market import Event
from feature_repo.trading.money import Units
from feature_repo.trading.simulation import Simulation
from feature_repo.trading.strategy import Strategy
from feature_repo.trading.sweep import Targets
from lake.errors import BadInput

CUTS = 7
"""Places at which the future is taken away, spread over the series."""


def check_targets(name: str, targets: Callable[[Units], Targets], closes: Units) -> None:
    """Raise BadInput where a target changes once the closes after it are away."""
    whole = targets(closes)
    for cut in cuts_of(len(closes)):
        known = targets(closes[:cut])
        if not np.array_equal(known, whole[:cut]):
            bar = int(np.flatnonzero(known != whole[:cut])[0])
            raise peeks(name, f"its target of bar {bar} changes with bars from {cut} on")


def check_events(
    name: str,
    make: Callable[[Sequence[Event]], Strategy],
    events: Sequence[Event],
    *,
    cash: int,
) -> None:
    """Raise BadInput where an order changes once the events after it are away.

    make: the strategy of a run, made anew from the events that the run will see.
    """
    whole = orders(make(events), events, cash)
    for cut in cuts_of(len(events)):
        seen = events[:cut]
        known = orders(make(seen), seen, cash)
        if known != whole[: len(known)] or _later(whole[len(known) :], seen[-1].available_us):
            raise peeks(name, f"its orders up to event {cut} change with the events after it")


def orders(strategy: Strategy, events: Sequence[Event], cash: int) -> list[tuple[object, int]]:
    """Return what a strategy orders, and when."""
    record = Simulation(strategy, cash=cash).run(events)
    return [(each.order, each.placed_us) for each in record.orders]


def cuts_of(length: int) -> list[int]:
    """Return the places of the cuts, each at least 1 and below the length."""
    found = {length * part // (CUTS + 1) for part in range(1, CUTS + 1)}
    return sorted(cut for cut in found if 0 < cut < length)


def peeks(name: str, how: str) -> BadInput:
    """Return what is wrong with a strategy that knows what comes."""
    return BadInput(f"strategy {name}", f"peeks: {how}", "let it read what came before only")


def _later(rest: list[tuple[object, int]], last_us: int) -> bool:
    """Tell whether an order of the whole run was placed before the cut and is missing."""
    return any(placed_us < last_us for _, placed_us in rest)
