"""What models say to a session: a minute that got no answer in time has none, then and ever after.

Such a minute is recorded before the session goes on without, so a replay and the lake, whose model
may answer, decide as it was decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa

from feature_repo.trading.market import Row
from feature_repo.trading.streams import times_of
from lake.errors import TicklakeError, Unavailable
from serving.session.models import Models
from serving.session.words import Word

TRIES_MAX = 10
"""How often it is asked for what was answered before, and so is known to have an answer."""

Note = Callable[[list[int], str], None]
"""Takes minutes that got no answer, by the time of their rows in microseconds UTC, and why."""


def unanswered(words: Iterable[Word]) -> list[int]:
    """Return the minutes of which words say that they got no answer."""
    return [int(us) for each in words if each.kind == "no_answer" for us in each.said["minutes"]]


class Answers:
    """Models as a session asks them. note: records minutes without an answer; while it is None,
    each has had one, or is in `unanswered`, and say() raises Unavailable where it does not come.
    """

    def __init__(self, models: Models, unanswered: Iterable[int] = ()) -> None:
        self._models = models
        self._unanswered = set(unanswered)
        self.note: Note | None = None

    def newest(self) -> str:
        """Return the version that a live session is to use now."""
        return self._models.newest()

    def use(self, version: str) -> None:
        """Use a version from now on."""
        self._models.use(version)

    def say(self, features: pa.Table) -> Sequence[Row]:
        """Return predictions of the minutes that have an answer."""
        minutes = times_of(features["event_time"])
        if self._unanswered:
            has_one = ~np.isin(minutes, list(self._unanswered))
            features, minutes = features.filter(pa.array(has_one)), minutes[has_one]
        if not features.num_rows:
            return ()
        if self.note is None:
            return self._said(features, TRIES_MAX)
        try:
            return self._said(features, 1)
        except TicklakeError as error:
            none = sorted(set(minutes.tolist()))
            self.note(none, str(error))
            self._unanswered.update(none)
            return ()

    def _said(self, features: pa.Table, tries: int) -> Sequence[Row]:
        for _ in range(tries - 1):
            try:
                return self._models.say(features)
            except Unavailable:
                continue
        return self._models.say(features)
