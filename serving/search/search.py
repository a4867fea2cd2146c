"""The search of one home: its catalog, and the models that its registry has by now."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lake.clock import Clock
from lake.errors import Unavailable
from serving.search.catalog_to_entries import catalog_entries, model_entries
from serving.search.entry import Entry, Found, Kind
from serving.search.index import Index
from serving.search.words import vocabulary

MODELS_S_MAX = 60.0
"""Age at which models are read anew."""


@dataclass(frozen=True, slots=True)
class Result:
    """What was found, the best first; lacking: why models are not among it, "" where they are."""

    found: Sequence[Found]
    lacking: str = ""


class Search:
    """For several threads. home: None: models are left out. more: entries of the caller's own."""

    def __init__(self, home: Path | None, clock: Clock, more: Sequence[Entry] = ()) -> None:
        self._home = home
        self._clock = clock
        self._more = more
        self._fixed: Sequence[Entry] = ()
        self._index = Index((), vocabulary())
        self._lacking = "no home was asked"
        self._read_us: int | None = None
        self._lock = threading.Lock()

    def ask(self, question: str, limit: int, kinds: Sequence[Kind] = ()) -> Result:
        """Return what a question in words finds, `limit` at most, of these kinds; none: of all."""
        with self._lock:
            now_us = self._clock.monotonic_us()
            if self._read_us is None or now_us - self._read_us > MODELS_S_MAX * 1e6:
                self._read()
                self._read_us = now_us
            index, lacking = self._index, self._lacking
        return Result(index.ask(question, limit, kinds), lacking)

    def _read(self) -> None:
        self._fixed = self._fixed or (*catalog_entries(), *self._more)
        models: Sequence[Entry] = ()
        if self._home is not None:
            try:
                models, self._lacking = model_entries(self._home), ""
            except Unavailable as error:
                self._lacking = str(error)
        self._index = Index((*self._fixed, *models), vocabulary())


def found_row(found: Found) -> dict[str, object]:
    """Return what was found as JSON has it."""
    entry = found.entry
    return {
        "kind": entry.kind,
        "name": entry.name,
        "meaning": entry.text,
        "unit": entry.unit,
        "where": list(entry.where),
        "score": round(found.score, 3),
    }
