"""What a session's journal does not say: words, each with its place among the frames.

A word holds after every frame up to its own, and before the next. It is recorded before it takes
effect. Whoever opens a session again says how far the journal was on the disk by then: what was
said of frames beyond had no effect that lasted, so it counts as said there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from lake.errors import Damaged

Kind = Literal[
    "start",
    "open",
    "tick",
    "left_out",
    "kill",
    "free",
    "late",
    "on_time",
    "model",
    "no_answer",
    "end",
    "closed",
]
KINDS: tuple[str, ...] = get_args(Kind)

RANGES_MAX = 1_000
"""Stretches of frames that one word leaves out; where there are more, neighbours become one."""


@dataclass(frozen=True, slots=True)
class Word:
    """Something that a session was told.

    frame: after which it holds; at_us: UTC microseconds, of a tick the clock's from then on.
    said: what belongs to it: of left_out its frames, of start all of it, of model the choice of
    versions (serving.signals.choice), of no_answer the minutes of which a version said nothing.
    """

    kind: Kind
    frame: int
    at_us: int
    said: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise Damaged(f"word {self.kind}", "is none of a session's", "which version wrote it?")


def as_they_hold(words: Iterable[Word]) -> list[Word]:
    """Return words with the places at which they hold: none beyond a later opening's."""
    found: list[Word] = []
    limit: int | None = None
    for word in reversed(list(words)):
        if word.kind == "open":
            limit = word.frame if limit is None else min(limit, word.frame)
        if limit is not None and (word.frame > limit or word.kind == "left_out"):
            said = dict(word.said)
            if word.kind == "left_out":
                said["frames"] = [[a, min(b, limit)] for a, b in said["frames"] if a <= limit]
            word = Word(word.kind, min(word.frame, limit), word.at_us, said)
        found.append(word)
    found.reverse()
    return found


def left_out(words: Iterable[Word]) -> list[tuple[int, int]]:
    """Return the stretches of frames that are left out, ascending, both ends inclusive."""
    found = [(int(a), int(b)) for w in words if w.kind == "left_out" for a, b in w.said["frames"]]
    return sorted(found)


def joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return RANGES_MAX stretches at most that cover these: those nearest to each other as one."""
    found = list(ranges)
    while len(found) > RANGES_MAX:
        pairs = [
            (found[i][0], found[min(i + 1, len(found) - 1)][1]) for i in range(0, len(found), 2)
        ]
        found = pairs
    return found


def kept(first: int, last: int, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield what is left of frames first to last (inclusive) without these stretches."""
    at = first
    for a, b in ranges:
        if b < at:
            continue
        if a > last:
            break
        if a > at:
            yield at, a - 1
        at = b + 1
    if at <= last:
        yield at, last
