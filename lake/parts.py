"""How far a long piece of work is: the part of the whole that is done, told by whoever does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

ShowPart = Callable[[float], None]
"""Is told a part of the whole, 0 to 1."""

T = TypeVar("T")


def nobody(part: float) -> None:
    """Tell nobody."""


def by_parts(things: Sequence[T], show: ShowPart) -> Iterator[T]:
    """Yield things in turn; tell after each how many of them are done."""
    for done, each in enumerate(things, 1):
        yield each
        show(done / len(things))


def within(show: ShowPart, first: float, last: float) -> ShowPart:
    """Return what tells the parts of a piece that is itself from `first` to `last` of the whole."""

    def shown(part: float) -> None:
        show(first + part * (last - first))

    return shown


def each_within(things: Sequence[T], show: ShowPart) -> Iterator[tuple[T, ShowPart]]:
    """Yield things in turn, each with what tells its own parts: equal shares of the whole."""
    for done, each in enumerate(things):
        yield each, within(show, done / len(things), (done + 1) / len(things))


class Through:
    """How far a mover is through the frames that waited when it began."""

    def __init__(self, show: ShowPart = nobody) -> None:
        self._show = show
        self._began: int | None = None

    def span(
        self, held: Mapping[int, int], upto: Mapping[int, int], last: Mapping[int, int]
    ) -> ShowPart:
        """Return what tells the parts of a step from the frames `held` to those of `upto`.

        All by shard; last: the last frame there is.
        """
        before = sum(held.get(shard, 0) for shard in last)
        after = sum(upto.get(shard, held.get(shard, 0)) for shard in last)
        if self._began is None:
            self._began = before
        whole = sum(last.values()) - self._began
        if whole <= 0:
            return self._show
        return within(self._show, (before - self._began) / whole, (after - self._began) / whole)
