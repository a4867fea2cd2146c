"""A version of a model in memory, asked in a thread of its own: nobody waits for it without end.

A model that hangs holds its own thread and nobody else's; whoever asks it meanwhile is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt

from feature_repo.feature_set import MARKET
from feature_repo.models.learner import SEQUENCE, TREES, Model
from feature_repo.models.registry import Card, Version
from feature_repo.models.takes import beside_market
from lake.errors import BadInput, TicklakeError, Unavailable
from serving.live.told import WINDOW_MAX

Float64 = npt.NDArray[np.float64]

ANSWER_MS_MAX = 200.0
"""Longest wait for what a version says of the rows of a minute."""

EXPLAIN_MS_MAX = 2_000.0
TRIAL_MS_MAX = 5_000.0
INTERVAL = "1m"
"""Bars whose features the speed layer tells of."""

SUM_ERROR_MAX = 1e-6


class Line:
    """A thread that does one thing after the other; several may ask."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.fault = ""
        """Why the newest work came to nothing; "" where it came to something."""
        self._free = threading.Semaphore()
        self._asked: SimpleQueue[_Call | None] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def ask(self, work: Callable[[], Float64], ms_max: float) -> Float64:
        """Return what the work comes to; Unavailable where that is late, BadInput where it fails.

        ms_max: wait for the work before, and again for this. Work that is late goes on, and what it
        comes to is thrown away.
        """
        try:
            found = self._asked_of(work, ms_max)
        except TicklakeError as error:
            self.fault = str(error)
            raise
        self.fault = ""
        return found

    def _asked_of(self, work: Callable[[], Float64], ms_max: float) -> Float64:
        if not self._free.acquire(timeout=ms_max / 1_000):
            raise Unavailable(self._name, "is still at work", "see whether the machine is overfull")
        call = _Call(work)
        self._asked.put(call)
        if not call.done.wait(ms_max / 1_000):
            fault = f"did not answer in {ms_max:g} ms"
            raise Unavailable(self._name, fault, "see whether the machine is overfull")
        if isinstance(call.fault, TicklakeError):
            raise call.fault
        if call.fault is not None:
            fault = f"failed ({' '.join(str(call.fault).split())})"
            raise BadInput(self._name, fault, "train it again") from call.fault
        assert call.found is not None
        return call.found

    def close(self) -> None:
        """End the thread once it is free."""
        self._asked.put(None)

    def _run(self) -> None:
        while (call := self._asked.get()) is not None:
            try:
                call.found = call.work()
            except Exception as error:  # whatever a model does, the others go on
                call.fault = error
            self._free.release()
            call.done.set()


@dataclass
class _Call:
    work: Callable[[], Float64]
    found: Float64 | None = None
    fault: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version that has answered once. tickers: those that it was trained on, none for all.

    answer_ms_max: how long its answer is waited for where nothing else is said.
    """

    version: Version
    card: Card
    tickers: frozenset[str]
    _model: Model = field(repr=False)
    _line: Line = field(repr=False)
    _reasons: Line = field(repr=False)
    answer_ms_max: float = ANSWER_MS_MAX

    @property
    def names(self) -> tuple[str, ...]:
        """Return its features, as a vector has them."""
        return self._model.names

    @property
    def window(self) -> int:
        """Return how many rows of a series a prediction is made of."""
        return self._model.window

    @property
    def words(self) -> str:
        """Return what to call it."""
        return f"{self.version.name} {self.version.version}"

    def probabilities(self, vectors: Float64, ms_max: float | None = None) -> Float64:
        """Return the probability of down, flat and up, a row each; vectors: or windows, oldest
        row first.

        Raises Unavailable where it is late; BadInput where it fails or says what is no probability.
        """
        longest_ms = self.answer_ms_max if ms_max is None else ms_max
        found = self._line.ask(lambda: self._model.probabilities(vectors), longest_ms)
        fits = (
            found.shape == (len(vectors), 3)
            and bool((found >= 0).all())
            and bool((np.abs(found.sum(axis=1) - 1) <= SUM_ERROR_MAX).all())
        )
        if not fits:
            error = BadInput(self.words, "says what are no probabilities", "train it again")
            self._line.fault = str(error)
            raise error
        return found

    @property
    def fault(self) -> str:
        """Return why its newest answer was none; "" where it was one."""
        return self._line.fault

    def explain(self, vectors: Float64) -> Float64:
        """Return what each feature adds, a row each; the last column is the rest. Raises as above.

        That is in log-odds of up over down. It holds up no prediction.
        """
        return self._reasons.ask(lambda: self._model.explain(vectors), EXPLAIN_MS_MAX)

    def close(self) -> None:
        """Let its threads end."""
        self._line.close()
        self._reasons.close()


def loaded(
    version: Version, model: Model, card: Card, answer_ms_max: float = ANSWER_MS_MAX
) -> Loaded:
    """Return a version that has given a trial answer.

    Raises BadInput where the speed layer has no rows for it, or its answer is none; Unavailable
    where that is late.
    """
    fault = unfit(card)
    if model.window > WINDOW_MAX:
        fault = f"looks at {model.window:,} rows, the speed layer keeps {WINDOW_MAX}"
    if fault:
        raise BadInput(f"{version.name} {version.version}", fault, "give its role to another")
    tickers = frozenset(card.facts["source"]["tickers"])
    words = f"{version.name} {version.version}"
    lines = Line(words), Line(words)
    made = Loaded(version, card, tickers, model, *lines, answer_ms_max)
    try:
        rows = () if model.window == 1 else (model.window,)
        made.probabilities(np.zeros((1, *rows, len(made.names))), TRIAL_MS_MAX)
    except TicklakeError:
        made.close()
        raise
    return made


def unfit(card: Card) -> str:
    """Return why the speed layer has no rows for a model; "" where it has."""
    source = card.facts.get("source")
    if not source:
        return "was trained on a file, so nobody knows its features"
    if (learner := card.facts.get("learner", TREES)) not in (TREES, SEQUENCE):
        return f"is of the learner {learner}, which the speed layer does not know"
    if sets := beside_market(card):
        return f"takes features of {sets}, which the speed layer does not make"
    took = source.get("feature_set", MARKET.name), source.get("set_version") or MARKET.version
    if took != (MARKET.name, MARKET.version) or set(card.features) - set(MARKET.names):
        return "takes features that the speed layer does not make"
    if source.get("interval") != INTERVAL:
        return f"takes bars of {source.get('interval')}, the speed layer tells of {INTERVAL}"
    return ""
