"""A session's recorded frames and words, given to it in their places."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from lake.feeds.codec import INDEX_BITS
from lake.journal.segment import segments
from lake.views.client import Client
from lake.views.union_view import last_seq
from serving.live.journal_runs import RECALLED_MAX, journal_runs
from serving.live.once import Once
from serving.session.rows_to_events import QUOTES, SCHEMAS, TRADES
from serving.session.session import Out, Session
from serving.session.words import Word, as_they_hold, kept, left_out

Tables = Mapping[str, pa.Table]
Rows = Callable[[int, int], Iterable[Tables]]
"""Gives the rows of frames from one to another, both inclusive, in pieces, in their order."""

LAKE_FRAMES = 200_000
"""Frames whose rows are read of the lake at once."""

ABOUT_FRAMES = ("start", "open", "left_out", "no_answer", "closed")
"""Words that say something of the frames, the models or the log, and nothing to the session."""


def play(
    session: Session, words: Iterable[Word], first: int, through: int, rows: Rows
) -> Iterator[list[Out]]:
    """Give a session frames first to through (inclusive), and the words that hold there.

    words: as they were recorded; those beyond `through` are left. Yields what comes of it.
    """
    held = as_they_hold(words)
    gaps = left_out(held)
    at = first
    for word in (each for each in held if each.kind not in ABOUT_FRAMES):
        if word.frame > through:
            break
        yield from _taken(session, at, word.frame, gaps, rows)
        at = max(at, word.frame + 1)
        session.word(word)
        yield session.drain()
    yield from _taken(session, at, through, gaps, rows)


def rows_of_journal(directory: Path, shard: int, once: Once) -> Rows:
    """Return what reads a journal's frames; the events of each are taken once."""

    def rows(first: int, last: int) -> Iterator[Tables]:
        for run in journal_runs(directory, shard, first - 1, last):
            yield once.take([run]).tables

    return rows


def recalled(directory: Path, shard: int, first: int) -> Once:
    """Return what takes each event once, and knows those of the frames before the first.

    Of those that the journal still has: a quiet shard's are sealed away sooner than they are many.
    """
    once = Once(exact=True)
    before = min(first - 1, max(kept_from(directory) - 1, first - 1 - RECALLED_MAX, 0))
    for run in journal_runs(directory, shard, before, first - 1):
        once.take([run])
    return once


def kept_from(directory: Path) -> int:
    """Return the first frame that a journal still has."""
    there = segments(directory)
    return there[0].first_frame if there else 1


def rows_of_lake(client: Client, shard: int) -> Rows:
    """Return what reads the union view of lake and hot tier."""

    def rows(first: int, last: int) -> Iterator[Tables]:
        for at in range(first, last + 1, LAKE_FRAMES):
            upto = min(last, at + LAKE_FRAMES - 1)
            where = f"shard = {shard} AND seq BETWEEN {at << INDEX_BITS} AND {last_seq(upto)}"
            yield {
                name: client.arrow(f"FROM {name} WHERE {where} ORDER BY seq").cast(SCHEMAS[name])
                for name in (TRADES, QUOTES)
            }

    return rows


def _taken(
    session: Session, first: int, last: int, gaps: list[tuple[int, int]], rows: Rows
) -> Iterator[list[Out]]:
    for a, b in kept(first, last, gaps):
        for tables in rows(a, b):
            session.take(tables)
            yield session.drain()
