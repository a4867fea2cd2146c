"""Models that should speak and do not, minute after minute, until they are an incident.

One late answer is no news: who stands in says so in its prediction, and a session goes on without.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lake.clock import Clock
from serving.signals.models import InUse
from serving.signals.route import CHAMPION
from serving.signals.scoring import Spoken, Told, whole

MINUTES_MAX = 5
"""Minutes in sequence of which a champion has said nothing; with these it is an alert."""

OF_SIGNALS = "champion of "
OF_SESSIONS = "champion in sessions of "
"""Before the name of a model, or of a shard: as an alert calls it."""


@dataclass(slots=True)
class _Thing:
    """minutes: those that it owes, the newest in sequence; since_us: from when on it has a fault
    that stands, by the monotonic clock; told: the words of its incident, "" for none.
    """

    minutes: set[int] = field(default_factory=set)
    why: str = ""
    stands: str = ""
    since_us: int = 0
    told: str = ""
    has_spoken: bool = False


class Silences:
    """Of one process; several threads may use it. Things are named as alerts name them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._things: dict[str, _Thing] = {}
        self._all: frozenset[str] | None = None

    def of(self, thing: str) -> Silence:
        """Return it for one thing."""
        return Silence(self, thing)

    def spoke(self, thing: str) -> None:
        """Note that it has said something of the newest minute."""
        with self._lock:
            each = self._things.setdefault(thing, _Thing())
            each.minutes.clear()
            each.has_spoken = True

    def missed(self, thing: str, minutes: Sequence[int], why: str) -> None:
        """Note minutes (their ends, microseconds UTC) of which it should have spoken."""
        with self._lock:
            each = self._things.setdefault(thing, _Thing())
            if len(each.minutes) < MINUTES_MAX:
                each.minutes.update(minutes)
            each.why = why

    def stands(self, thing: str, fault: str) -> None:
        """Note what keeps it from speaking at all; "" where nothing does."""
        with self._lock:
            each = self._things.setdefault(thing, _Thing())
            if fault and not each.stands:
                each.since_us = self._clock.monotonic_us()
            each.stands = fault

    def keep(self, things: Sequence[str]) -> None:
        """Forget all things but these: there are no others."""
        with self._lock:
            self._all = frozenset(things)
            for name in self._things.keys() - self._all:
                del self._things[name]

    def faults(self) -> dict[str, str]:
        """Return what is wrong with each that has been silent for too long.

        The words of an incident stay, whatever it fails of later.
        """
        with self._lock:
            for each in self._things.values():
                words = self._words(each)
                each.told = (each.told or words) if words else ""
            return {name: each.told for name, each in self._things.items() if each.told}

    def is_over(self, thing: str) -> bool:
        """Tell whether it has spoken and is not silent now, or is there no more."""
        with self._lock:
            each = self._things.get(thing)
            if each is None:
                return self._all is not None and thing not in self._all
            return each.has_spoken and not each.minutes and not each.stands

    def _words(self, each: _Thing) -> str:
        stood_us = self._clock.monotonic_us() - each.since_us
        if each.stands and stood_us >= MINUTES_MAX * 60_000_000:
            return f"can't be used for {MINUTES_MAX} minutes or more: {each.stands}"
        if len(each.minutes) >= MINUTES_MAX:
            why = f": {each.why}" if each.why else ""
            return f"has said nothing for {MINUTES_MAX} minutes or more in sequence{why}"
        return ""


@dataclass(frozen=True, slots=True)
class Silence:
    """Of one thing."""

    _silences: Silences
    _thing: str

    def spoke(self) -> None:
        """Note that it has said something of the newest minute."""
        self._silences.spoke(self._thing)

    def missed(self, minutes: Sequence[int], why: str) -> None:
        """Note minutes of which it should have spoken."""
        self._silences.missed(self._thing, minutes, why)


def said_of(silences: Silences) -> list[str]:
    """Return what is wrong, as a process says it of itself."""
    return [f"{thing} {fault}" for thing, fault in silences.faults().items()]


def heard(silences: Silences, use: InUse, rows: Sequence[Told], said: Sequence[Spoken]) -> None:
    """Note whether a model's champion spoke of rows, of those that it takes; said: all that was."""
    seat = use.seats.get(CHAMPION)
    if seat is None or seat.now is None:
        return
    version, thing = seat.now, f"{OF_SIGNALS}{use.name}"
    if any(each.version is version for each in said):
        silences.spoke(thing)
        return
    asked = {row.t_us for row in whole(version, rows)[0]}
    if asked:
        silences.missed(thing, sorted(asked), version.fault)


def look_at_seats(silences: Silences, in_use: Mapping[str, InUse]) -> None:
    """Note which champions can't be used, and forget models that have none any more."""
    seats = {
        f"{OF_SIGNALS}{name}": use.seats[CHAMPION]
        for name, use in in_use.items()
        if CHAMPION in use.seats
    }
    silences.keep(list(seats))
    for thing, seat in seats.items():
        silences.stands(thing, seat.fault)
