"""A leader that is heard of while its own thread is busy, for as long as its process runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from feature_repo.ledger.writer import Writer
from lake.every import every

BEATS = 5
"""Beats within the time after which a silent leader's session is ended."""


@contextmanager
def beating(writer: Writer) -> Iterator[None]:
    """Let the server hear of a leader from a thread of its own, until the end of the block.

    A process that is stopped is silent with all its threads.
    """
    with every(writer.silent_ms / 1_000 / BEATS, writer.beat, "beats"):
        yield
