"""What models say to a session: a minute that got no answer in time has none, then and ever after.

Such a minute is recorded, with the version, before the session goes on without; so a replay and the
lake, whose model may answer, decide as it was decided. Who stands in for the version is asked then:
the champion for a challenger, nobody for the champion.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa

from feature_repo.trading.market import Instrument, Row
from feature_repo.trading.streams import times_of
from lake.errors import TicklakeError, Unavailable
from serving.session.models import Models
from serving.session.words import Word
from serving.signals.silence import Silence

TRIES_MAX = 10
"""How often it is asked for what was answered before, and so is known to have an answer."""

EVERY = ""
"""Version of a minute that no version answered, as words of before have it."""

Unanswered = Iterable[tuple[str, int]]
"""Versions, and minutes by the time of their rows in microseconds UTC."""

Note = Callable[[str, list[int], str], None]
"""Takes a version, minutes that got no answer of it, and why."""


def unanswered(words: Iterable[Word]) -> list[tuple[str, int]]:
    """Return the minutes of which words say that they got no answer, with the version."""
    return [
        (str(each.said.get("version", EVERY)), int(us))
        for each in words
        if each.kind == "no_answer"
        for us in each.said["minutes"]
    ]


class Answers:
    """Models as a session asks them. note: records minutes without an answer; while it is None,
    each has had one, or is in `unanswered`, and say() raises Unavailable where it does not come.
    silence: hears which minutes the champion, who is asked last, answers the first time.
    """

    def __init__(
        self, models: Models, unanswered: Unanswered = (), silence: Silence | None = None
    ) -> None:
        self._models = models
        self._silence = silence
        self._unanswered: defaultdict[str, set[int]] = defaultdict(set)
        for version, minute in unanswered:
            self._unanswered[version].add(minute)
        self.note: Note | None = None

    def newest(self) -> str:
        """Return the choice of versions that a live session is to use now."""
        return self._models.newest()

    def use(self, choice: str) -> None:
        """Use a choice from now on."""
        self._models.use(choice)

    def say(self, features: pa.Table) -> Sequence[Row]:
        """Return predictions of rows that have an answer, in the order of the rows."""
        found: list[Row] = []
        for versions, rows in self._models.shared(features):
            left = rows
            for version in versions:
                if left.num_rows:
                    silence = self._silence if version == versions[-1] else None
                    said = self._said(version, left, silence)
                    found += said
                    left = _without(left, said)
        place = {key: n for n, key in enumerate(_keys(features))}
        return sorted(found, key=lambda each: place[each.instrument, each.time_us])

    def _said(self, version: str, rows: pa.Table, silence: Silence | None) -> Sequence[Row]:
        minutes = times_of(rows["event_time"])
        silent = self._unanswered[version] | self._unanswered[EVERY]
        if silent:
            has_one = ~np.isin(minutes, list(silent))
            rows, minutes = rows.filter(pa.array(has_one)), minutes[has_one]
        if not rows.num_rows:
            return ()
        if self.note is None:
            return self._asked(version, rows, TRIES_MAX)
        try:
            found = self._asked(version, rows, 1)
        except TicklakeError as error:
            none = sorted(set(minutes.tolist()))
            self.note(version, none, str(error))
            self._unanswered[version].update(none)
            if silence is not None:
                silence.missed(none, str(error))
            return ()
        if silence is not None:
            silence.spoke()
        return found

    def _asked(self, version: str, rows: pa.Table, tries: int) -> Sequence[Row]:
        for _ in range(tries - 1):
            try:
                return self._models.say(version, rows)
            except Unavailable:
                continue
        return self._models.say(version, rows)


def _keys(rows: pa.Table) -> list[tuple[Instrument, int]]:
    names = (rows[name].to_pylist() for name in ("ticker", "exchange", "market"))
    times = times_of(rows["event_time"]).tolist()
    return [(Instrument(*key), us) for key, us in zip(zip(*names, strict=True), times, strict=True)]


def _without(rows: pa.Table, said: Sequence[Row]) -> pa.Table:
    """Return the rows of which nothing was said."""
    done = {(each.instrument, each.time_us) for each in said}
    return rows.filter(pa.array([key not in done for key in _keys(rows)], pa.bool_()))
