"""Models in use: those of the registry, loaded once, changed without a stop.

A thread looks at the registry every so often. What has a role there is loaded, tried, and only then
takes its seat. What can't be loaded or tried leaves the seat to whom had it, and says why; with
nobody there, the seat is empty. While the registry is away, everything stays.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from feature_repo.models.registry import ROLES, Registry, Standing
from feature_repo.models.registry_place import has_registry, registry_place
from lake.errors import TicklakeError, Unavailable
from serving.signals.loaded import Loaded, loaded
from serving.signals.route import Route
from serving.signals.route_log import newest

LOG = logging.getLogger("ticklake.signals")
LOOK_S = 5.0
"""Between two looks at the registry."""

TRAIN_ONE = "train one and give it a role: ticklake train, ticklake models promote"


@dataclass(frozen=True, slots=True)
class Seat:
    """A role of a model. now: who answers in it; before: who did before that, for when it fails.

    named: the version that the registry names; fault: why it is not the one that answers; again:
    whether that may be over at the next look.
    """

    named: int
    now: Loaded | None = None
    before: Loaded | None = None
    fault: str = ""
    again: bool = True


@dataclass(frozen=True, slots=True)
class InUse:
    """A model: its seats by role, in the order of ROLES, and how they are shared."""

    name: str
    seats: Mapping[str, Seat] = field(default_factory=dict)
    route: Route = field(default_factory=Route)
    fault: str = ""

    @property
    def has_any(self) -> bool:
        """Tell whether any version of it may decide."""
        return any(role != "shadow" and seat.now for role, seat in self.seats.items())


Load = Callable[[str, int], Loaded]


def taken(held: Mapping[str, InUse], found: Sequence[Standing], load: Load) -> dict[str, InUse]:
    """Return what is in use after a look; load: makes a version of a model and tries it.

    Raises what load does for a registry that is away (Unavailable is kept as a seat's fault).
    """
    return {
        each.name: _model(held.get(each.name, InUse(each.name)), each, load)
        for each in found
        if each.roles
    }


def _model(held: InUse, found: Standing, load: Load) -> InUse:
    seats: dict[str, Seat] = {}
    there = {
        seat.now.version.version: seat.now for seat in held.seats.values() if seat.now is not None
    }

    def once(name: str, number: int) -> Loaded:
        """Return a version that is here already, else load it: one with two roles is one."""
        if number not in there:
            there[number] = load(name, number)
        return there[number]

    for role in ROLES:
        if role in found.roles:
            seats[role] = _seat(held.seats.get(role), found.name, found.roles[role], once)
    try:
        route, fault = newest(found.tags), ""
    except TicklakeError as error:
        route, fault = held.route, str(error)
    return InUse(found.name, seats, route, fault)


def _seat(held: Seat | None, name: str, number: int, load: Load) -> Seat:
    if held is not None and held.named == number and not held.again:
        return held
    had = held or Seat(number)
    try:
        made = load(name, number)
    except TicklakeError as error:
        again = isinstance(error, Unavailable)
        return replace(had, named=number, fault=str(error), again=again)
    before = had.now if had.now is not made else had.before
    return Seat(number, made, before or had.before, again=False)


class Models:
    """Those of a home (absolute path); run() looks after them, anyone may read in_use."""

    def __init__(self, home: Path, *, look_s: float = LOOK_S) -> None:
        self._home = home
        self._look_s = look_s
        self._registry: Registry | None = None
        self._faults: Mapping[tuple[str, str], str] = {}
        self.in_use: Mapping[str, InUse] = {}
        """By name; replaced as a whole, never changed."""
        self.fault = ""
        """Why the registry could not be looked at."""
        self.looks = 0
        self.stop = threading.Event()

    def run(self) -> None:
        """Look at the registry until stopped."""
        while not self.stop.is_set():
            self.look()
            self.stop.wait(self._look_s)

    def look(self) -> None:
        """Take up what the registry says now; keep everything where it does not answer."""
        try:
            self._take()
            self.fault = ""
        except TicklakeError as error:
            if self.fault != str(error):
                LOG.warning("models: %s", error)
            self.fault = str(error)
        except Exception as error:  # MLflow raises what it likes; the models in memory go on
            LOG.exception("models")
            self.fault = f"MLflow: {type(error).__name__}: {' '.join(str(error).split())}"
        self.looks += 1

    def model(self, ticker: str) -> InUse:
        """Return the model that decides about a ticker, the first by name of those that can.

        Raises Unavailable where none is in use, or none takes it.
        """
        found = [each for each in self.in_use.values() if each.has_any]
        if not found:
            reasons = [seat.fault for each in self.in_use.values() for seat in each.seats.values()]
            said = "; ".join(filter(None, (self.fault, *reasons)))
            raise Unavailable("models", f"none is in use{f' ({said})' if said else ''}", TRAIN_ONE)
        for each in found:
            if any(takes(seat.now, ticker) for seat in each.seats.values()):
                return each
        names = ", ".join(each.name for each in found)
        raise Unavailable(f"ticker {ticker}", f"is not of {names}", "train a model of it")

    def version(self, name: str, number: int) -> Loaded:
        """Return a version, from memory where it is there, else loaded and tried.

        Raises Unavailable where there is no registry; else as serving.signals.loaded.loaded.
        """
        for each in held_by(self.in_use):
            if (each.version.name, each.version.version) == (name, number):
                return each
        return self._load(name, number)

    def _registry_of(self) -> Registry | None:
        """Return the registry; None while the home has none: this makes none."""
        if self._registry is None and has_registry(self._home):
            self._registry = Registry(registry_place(self._home))
        return self._registry

    def _take(self) -> None:
        registry = self._registry_of()
        if registry is None:
            return
        before = self.in_use
        self.in_use = taken(before, registry.standings(), self._load)
        _let_go(before, self.in_use)
        self._tell()

    def _load(self, name: str, number: int) -> Loaded:
        registry = self._registry_of()
        if registry is None:
            raise Unavailable("models", "this home has no registry", TRAIN_ONE)
        version = registry.version(name, number)
        model, card = registry.load(version)
        return loaded(version, model, card)

    def _tell(self) -> None:
        """Log what changed of what is wrong."""
        faults = {
            (name, role): seat.fault
            for name, each in self.in_use.items()
            for role, seat in each.seats.items()
            if seat.fault
        }
        faults |= {(name, "route"): each.fault for name, each in self.in_use.items() if each.fault}
        for (name, role), fault in faults.items():
            if self._faults.get((name, role)) != fault:
                LOG.warning("%s of %s: %s", role, name, fault)
        self._faults = faults


def takes(version: Loaded | None, ticker: str) -> bool:
    """Tell whether a version was trained on a ticker."""
    return version is not None and (not version.tickers or ticker in version.tickers)


def held_by(in_use: Mapping[str, InUse]) -> list[Loaded]:
    """Return every version in memory, once each."""
    seats = [seat for each in in_use.values() for seat in each.seats.values()]
    found = [each for seat in seats for each in (seat.now, seat.before) if each is not None]
    return list({id(each): each for each in found}.values())


def _let_go(before: Mapping[str, InUse], after: Mapping[str, InUse]) -> None:
    stay = {id(each) for each in held_by(after)}
    for each in held_by(before):
        if id(each) not in stay:
            each.close()
