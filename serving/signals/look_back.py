"""What a scorer keeps of the rows that it heard, for versions that look at several of them."""

from __future__ import annotations

from collections.abc import Sequence, Set

from feature_repo.trading.market import Instrument
from serving.signals.models import InUse
from serving.signals.scoring import Told, keep, looks_back, with_past
from serving.signals.windows import Windows

HEARD_MAX = 10_000
"""Rows that wait to be kept: none is scored meanwhile."""


class LookBack:
    """Of one scorer; one thread uses it.

    While no version looks back, rows are kept once the signals are told: nobody waits for it.
    """

    def __init__(self) -> None:
        self._windows = Windows()
        self._heard: list[Told] = []

    def hear(self, rows: Sequence[Told]) -> None:
        """Note rows as they come, those among them that are not scored."""
        self._heard += rows
        if len(self._heard) > HEARD_MAX:
            self.keep()

    def ready(self, use: InUse, rows: Sequence[Told]) -> Sequence[Told]:
        """Return rows that a model scores, with what was there before each where it looks at it."""
        if not looks_back(use):
            return rows
        self.keep()
        return with_past(self._windows, rows)

    def forget(self, instruments: Set[Instrument]) -> None:
        """Begin anew: rows of these may lack between those heard and those to come."""
        self.keep()
        self._windows.forget(instruments)

    def keep(self) -> None:
        """Keep what was heard for the rows after it."""
        keep(self._windows, self._heard)
        self._heard.clear()
