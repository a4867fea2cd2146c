"""Which versions of a model speak of rows of features, until a session is told otherwise.

A choice is text that a session's log keeps: a version, NAME/NUMBER, or a route with the versions
and outcomes by which rows are shared. The same choice asks the same of the same rows, live or in a
replay; what an experiment gave an instrument stays with it, as serving.signals.route has it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from redis import Redis
from redis.exceptions import RedisError

from feature_repo.trading.market import Instrument, Row
from feature_repo.trading.streams import times_of
from lake.clock import Clock
from lake.errors import TicklakeError, Unavailable
from serving.live.told import feature_rows
from serving.signals.loaded import Loaded
from serving.signals.models import InUse, Models
from serving.signals.outcomes import ByVersion, kept
from serving.signals.route import (
    ARMS,
    BANDIT,
    CHALLENGER,
    CHAMPION,
    Outcomes,
    Route,
    route_of,
    routed,
)
from serving.signals.scoring import (
    ask,
    keep,
    outcomes_of,
    predictions,
    told_of,
    whole,
    with_past,
)
from serving.signals.windows import NONE, Past, Windows

VALUE = "prediction"
LOOK_US = 5_000_000
"""Between two looks at how a bandit's versions came out."""

Shared = Sequence[tuple[Sequence[str], pa.Table]]
"""Rows of features, each with the versions that are asked of it, in turn, until one answers."""


@dataclass(frozen=True)
class Choice:
    """versions: by role, NAME/NUMBER, the champion among them. outcomes: by role, of a bandit."""

    model: str
    versions: Mapping[str, str]
    route: Route = field(default_factory=Route)
    outcomes: Mapping[str, Outcomes] = field(default_factory=dict)

    @cached_property
    def text(self) -> str:
        """Return it as a log keeps it."""
        if CHALLENGER not in self.versions or self.route.kind == CHAMPION:
            return self.versions[CHAMPION]
        said = {
            "model": self.model,
            "versions": dict(self.versions),
            "route": self.route.text(),
            "outcomes": {role: [each.right, each.wrong] for role, each in self.outcomes.items()},
        }
        return json.dumps(said, sort_keys=True)

    def asked(self, instrument: Instrument, t_us: int) -> tuple[str, ...]:
        """Return who is asked of an instrument's minute, in turn."""
        role = routed(self.route, self.model, instrument, t_us, self.outcomes)
        roles = dict.fromkeys((role, CHAMPION))
        return tuple(dict.fromkeys(self.versions[each] for each in roles if each in self.versions))


def choice_of(text: str) -> Choice:
    """Return the choice that text says; Unavailable for what is none."""
    try:
        if not text.startswith("{"):
            model, _, number = text.rpartition("/")
            return Choice(model, {CHAMPION: f"{model}/{int(number)}"})
        said = json.loads(text)
        outcomes = {role: Outcomes(*map(int, each)) for role, each in said["outcomes"].items()}
        versions = {role: str(said["versions"][role]) for role in said["versions"] if role in ARMS}
        return Choice(str(said["model"]), versions, route_of(said["route"]), outcomes)
    except (ValueError, KeyError, TypeError, AttributeError, TicklakeError) as error:
        raise Unavailable(
            f"version {text[:100]}", "is none", "NAME/NUMBER: ticklake models list"
        ) from error


class OutcomesSeen:
    """How the versions of a bandit came out, as the process of signals counted it last.

    client: None sees none. One thread uses it; while Redis is away, what was seen last stays.
    """

    def __init__(self, client: Redis | None, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._seen: dict[str, tuple[int, ByVersion]] = {}

    def of(self, model: str) -> ByVersion:
        """Return it, LOOK_US old at most."""
        now_us = self._clock.monotonic_us()
        at_us, seen = self._seen.get(model, (now_us - LOOK_US, {}))
        if self._client is not None and now_us - at_us >= LOOK_US:
            with suppress(RedisError):
                seen = kept(self._client, model)
            self._seen[model] = now_us, seen
        return seen


class ChosenModels:
    """Of a model of this name, "": the first that has a champion. One thread uses it."""

    def __init__(
        self,
        models: Models,
        clock: Clock,
        name: str = "",
        outcomes: Callable[[str], ByVersion] = lambda model: {},
    ) -> None:
        self._models = models
        self._clock = clock
        self._name = name
        self._outcomes = outcomes
        self._found: tuple[InUse, ByVersion, str] | None = None
        self._choice: Choice | None = None
        self._windows = Windows()
        self._past: dict[tuple[Instrument, int], Past] = {}
        self._used: dict[str, Loaded] = {}

    def newest(self) -> str:
        """Return who share the rows now, of those that can be used; "" without a champion."""
        for name, use in self._models.in_use.items():
            seat = use.seats.get(CHAMPION)
            if self._name in ("", name) and seat is not None and seat.now is not None:
                return self._text(use)
        return ""

    def _text(self, use: InUse) -> str:
        by_version = self._outcomes(use.name) if use.route.kind == BANDIT else {}
        found = self._found
        if found is not None and found[0] is use and found[1] == by_version:
            return found[2]
        arms = {
            role: f"{use.name}/{seat.now.version.version}"
            for role in ARMS
            if (seat := use.seats.get(role)) is not None and seat.now is not None
        }
        outcomes = outcomes_of(use, by_version) if use.route.kind == BANDIT else {}
        text = Choice(use.name, arms, use.route, outcomes).text
        self._found = use, by_version, text
        return text

    def use(self, choice: str) -> None:
        """Use a choice from now on, "" for none; Unavailable where a version can't be had."""
        self._choice, self._used = None, {}
        if not choice:
            return
        found = choice_of(choice)
        for version in found.versions.values():
            name, _, number = version.rpartition("/")
            try:
                self._used[version] = self._models.version(name, int(number))
            except (TicklakeError, ValueError) as error:
                raise Unavailable(f"version {version}", str(error), "train it again") from error
        self._choice = found

    def shared(self, features: pa.Table) -> Shared:
        """Return rows of features with who is asked of them; nobody is where nothing is used.

        Every row of a session comes here once, so windows are of its own rows from its start on.
        """
        rows = feature_rows(features)
        told = [told_of(row, 0) for row in rows if row["known"] is not None]
        keep(self._windows, told)
        self._past = {
            (row.instrument, row.t_us): row.past
            for row in (with_past(self._windows, told) if self._looks_back else ())
        }
        if self._choice is None or not features.num_rows:
            return []
        names = (features[name].to_pylist() for name in ("ticker", "exchange", "market"))
        times = times_of(features["event_time"]).tolist()
        asked: dict[tuple[str, ...], list[int]] = {}
        for row, (key, t_us) in enumerate(zip(zip(*names, strict=True), times, strict=True)):
            asked.setdefault(self._choice.asked(Instrument(*key), t_us), []).append(row)
        return [(versions, features.take(np.array(rows))) for versions, rows in asked.items()]

    @property
    def _looks_back(self) -> bool:
        return any(each.window > 1 for each in self._used.values())

    def say(self, version: str, features: pa.Table) -> Sequence[Row]:
        """Return what a version says, as rows of the value "prediction", each with its id.

        features: rows of closed minutes, as of serving.live.live_features. A row that the version
        does not take whole has none. Raises Unavailable where the version is late or fails.
        """
        found = self._used[version]
        told = [told_of(row, 0) for row in feature_rows(features)]
        told = [row._replace(past=self._past.get((row.instrument, row.t_us), NONE)) for row in told]
        taken, vectors = whole(found, told)
        if not taken:
            return []
        try:
            said = predictions(ask(found, CHAMPION, taken, vectors, self._clock), "")
        except TicklakeError as error:
            raise Unavailable(found.words, str(error), "see its log") from error
        return [
            Row(
                row.instrument, row.t_us, row.known_us, {VALUE: each.prediction}, each.prediction_id
            )
            for row, each in zip(taken, said, strict=True)
        ]
