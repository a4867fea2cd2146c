"""What versions say of the features that a worker told of: who decides, and who stands in for whom.

Who is routed to is asked first, then the champion, then the champion before. The first that has an
answer decides, and the prediction says why it was not the one before it. A row that is degraded or
lacks a value, in what a version takes, is no row for that version: it is not guessed at. The lake's
batch scores it once the lake has it whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_repo.models.learner import confidence, prediction
from feature_repo.models.predictions import KEYS, TIMES, US, Said, Speaker, said_rows
from feature_repo.trading.market import Instrument
from lake.clock import Clock
from lake.errors import TicklakeError
from serving.signals.loaded import INTERVAL, Loaded
from serving.signals.models import InUse, takes
from serving.signals.prediction import Prediction, id_of
from serving.signals.route import ARMS, CHAMPION, Outcomes, routed
from serving.signals.windows import NONE, PLACES, Past, Windows

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

FRESH_US = 120_000_000
"""Age of a minute's end at which its features are no more what is now: a minute later the next
ones are there, if anything was traded."""


class Told(NamedTuple):
    """Features of an instrument's minute. t_us: its end; known_us: when they were; heard_us: here;
    all UTC. past: what was there before it, for versions that look at several rows.
    """

    instrument: Instrument
    t_us: int
    known_us: int
    heard_us: int
    values: Mapping[str, float | None]
    degraded: frozenset[str]
    past: Past = NONE


@dataclass(frozen=True, slots=True)
class Spoken:
    """What one version said of some rows."""

    version: Loaded
    role: str
    rows: tuple[Told, ...]
    said: Said

    def table(self) -> pa.Table:
        """Return it as rows of model_predictions."""
        keys = zip(*((*each.instrument, INTERVAL) for each in self.rows), strict=True)
        times = zip(*((each.t_us, each.known_us, each.heard_us) for each in self.rows), strict=True)
        columns = {
            **{name: pa.array(list(values)) for name, values in zip(KEYS, keys, strict=True)},
            **{name: pa.array(list(us), US) for name, us in zip(TIMES, times, strict=True)},
        }
        found = self.version.version
        release = str(self.version.card.facts["release"])
        speaker = Speaker(found.name, found.version, self.role, release)
        return said_rows(self.said, speaker, pa.table(columns), "live")

    def explained(self) -> Spoken:
        """Return it with what each feature added; as it is where the model does not say."""
        try:
            parts = self.version.explain(self.said.vectors)
        except TicklakeError:
            return self
        return replace(self, said=replace(self.said, parts=parts))


def told_of(row: Mapping[str, Any], heard_us: int) -> Told:
    """Return a row of features as serving.live.told has it; KeyError and such for another."""
    instrument = Instrument(str(row["ticker"]), str(row["exchange"]), str(row["market"]))
    degraded = frozenset(map(str, row["degraded"]))
    return Told(
        instrument, int(row["t"]), int(row["known"]), heard_us, dict(row["values"]), degraded
    )


def is_fresh(row: Told, now_us: int) -> bool:
    """Tell whether a row is of now; one from the future, by our clock, is not."""
    return row.known_us <= now_us and now_us - row.t_us <= FRESH_US


def whole(version: Loaded, rows: Sequence[Told]) -> tuple[list[Told], Float64]:
    """Return the rows that a version takes, and their vectors, or the windows that end with them.

    Its ticker, and all of its features whole, of the rows before as well where it looks at some.
    """
    taken = [
        row
        for row in rows
        if takes(version, row.instrument.ticker) and row.degraded.isdisjoint(version.names)
    ]
    if not taken:
        return [], np.zeros((0, len(version.names)))
    names = version.names
    vectors = np.array([[each.values.get(name) for name in names] for each in taken], np.float64)
    is_whole: Bool = np.logical_and.reduce(np.isfinite(vectors), axis=1)
    if not is_whole.all():
        taken = [row for row, fits in zip(taken, is_whole, strict=True) if fits]
        vectors = vectors[is_whole]
    return (taken, vectors) if version.window == 1 else _windows(version, taken, vectors)


def _windows(version: Loaded, rows: Sequence[Told], vectors: Float64) -> tuple[list[Told], Float64]:
    """Return the rows before which there are enough, and the windows that they end."""
    past = [row.past.newest(version.names, version.window - 1) for row in rows]
    at = [n for n, found in enumerate(past) if found is not None]
    if not at:
        return [], np.zeros((0, version.window, len(version.names)))
    before = np.array([past[n] for n in at], np.float64)
    return [rows[n] for n in at], np.concatenate([before, vectors[at][:, None]], axis=1)


def keep(windows: Windows, rows: Sequence[Told]) -> None:
    """Keep rows, oldest first, for those after them."""
    for row in rows:
        found = [row.values.get(name) for name in PLACES]
        values = np.array([np.nan if each is None else each for each in found], np.float64)
        degraded = np.array([name in row.degraded for name in PLACES], np.bool_)
        windows.keep(row.instrument, row.t_us, row.known_us, values, degraded)


def with_past(windows: Windows, rows: Sequence[Told]) -> list[Told]:
    """Return rows with what was kept of before each."""
    return [row._replace(past=windows.past(row.instrument, row.t_us, row.known_us)) for row in rows]


def looks_back(use: InUse) -> bool:
    """Tell whether a version that may be asked looks at several rows."""
    seats = use.seats.values()
    return any(each.window > 1 for seat in seats for each in (seat.now, seat.before) if each)


def ask(version: Loaded, role: str, rows: Sequence[Told], vectors: Float64, clock: Clock) -> Spoken:
    """Return what a version says of rows of whole(), at least one. Raises as Loaded does."""
    began_us = clock.monotonic_us()
    probabilities = version.probabilities(vectors)
    spent_us = (clock.monotonic_us() - began_us) // len(rows)
    said = Said(version.names, vectors, probabilities, None, spent_us, clock.now_us())
    return Spoken(version, role, tuple(rows), said)


def outcomes_of(use: InUse, by_version: Mapping[int, Outcomes]) -> dict[str, Outcomes]:
    """Return how the arms of a model came out so far: nothing yet of a version that is new."""
    return {
        role: by_version.get(seat.now.version.version, Outcomes())
        for role in ARMS
        if (seat := use.seats.get(role)) is not None and seat.now is not None
    }


def decided(
    use: InUse, rows: Sequence[Told], by_version: Mapping[int, Outcomes], clock: Clock
) -> tuple[list[Prediction], list[Spoken]]:
    """Return the predictions that count, in no order, and what was said to come to them.

    by_version: version -> how its predictions came out so far. A row of which nobody has an answer
    has no prediction.
    """
    outcomes = outcomes_of(use, by_version)
    by_role: dict[str, list[Told]] = {}
    for row in rows:
        role = routed(use.route, use.name, row.instrument, row.t_us, outcomes)
        by_role.setdefault(role, []).append(row)
    found: list[Prediction] = []
    spoken: list[Spoken] = []
    for role, asked in by_role.items():
        left, reasons = asked, []
        for version, as_role, fault in _chain(use, role):
            reasons += [fault] if fault else []
            if version is None or not left:
                continue
            asked_of, vectors = whole(version, left)
            try:
                told = ask(version, as_role, asked_of, vectors, clock) if asked_of else None
            except TicklakeError as error:
                reasons.append(str(error))
                continue
            if told is not None:
                spoken.append(told)
                found += predictions(told, "; ".join(reasons))
                done = {id(row) for row in asked_of}
                left = [row for row in left if id(row) not in done]
            reasons.append(f"{version.words} has no whole vector")
    return found, spoken


def beside(
    use: InUse, rows: Sequence[Told], spoken: Sequence[Spoken], clock: Clock
) -> Iterator[Spoken]:
    """Yield what the seats say that were not asked yet; one that can't answer says nothing.

    A version with two roles speaks once, in the first of them.
    """
    said = {(each.version.words, id(row)) for each in spoken for row in each.rows}
    for role, seat in use.seats.items():
        version = seat.now
        if version is None:
            continue
        left, vectors = whole(
            version, [row for row in rows if (version.words, id(row)) not in said]
        )
        if not left:
            continue
        said |= {(version.words, id(row)) for row in left}
        try:
            yield ask(version, role, left, vectors, clock)
        except TicklakeError:
            continue


def predictions(spoken: Spoken, fallback: str) -> list[Prediction]:
    """Return what was said as predictions, row by row."""
    said, found = spoken.said, spoken.version.version
    values = prediction(said.probabilities).tolist(), confidence(said.probabilities).tolist()
    return [
        Prediction(
            row.instrument,
            value,
            sure,
            found.name,
            str(found.version),
            spoken.role,
            row.known_us,
            said.made_us,
            id_of(found.name, found.version, row.instrument, row.t_us, row.known_us),
            fallback,
        )
        for row, value, sure in zip(spoken.rows, *values, strict=True)
    ]


def _chain(use: InUse, role: str) -> Iterator[tuple[Loaded | None, str, str]]:
    """Yield who is asked in turn, the role in which each answers, and what is wrong with the seat.

    A challenger that was routed to and is not there is a fault; so is a seat whose named version
    can't be used, and who had it before goes on.
    """
    for each in dict.fromkeys((role, CHAMPION)):
        seat = use.seats.get(each)
        if seat is None:
            yield None, each, f"{use.name} has no {each}"
            continue
        yield seat.now, each, seat.fault
    champion = use.seats.get(CHAMPION)
    if champion is not None:
        yield champion.before, CHAMPION, ""
