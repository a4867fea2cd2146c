"""When each claim was last heard, kept beside the journals across restarts.

A note for the gap that a later start opens. It is saved after what it speaks of is durable, so an
old note makes the gap longer and none makes it shorter; it needs no fsync. A claim may have been
heard by another shard since, so the notes of all shards are read.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

NAME = "last_heard.json"
TORN_MARGIN_US = 10_000_000
"""A note that a power cut tore is dated by its file's time, less this."""


class LastHeard:
    """A small JSON file per shard: "feed|ticker|connection" -> UTC microseconds.

    stored_us: feed -> when the hot tier was last given something of it by this shard. Where the
    notes are gone with the journal, that dates the gap, less a margin: what came since is lost.
    """

    def __init__(
        self, journals: Path, shard: int, *, stored_us: Mapping[str, int] | None = None
    ) -> None:
        self._stored_us = stored_us or {}
        self._path = journals / f"shard-{shard}" / NAME
        self._own, self._torn_us = _read(self._path)
        self._known = dict(self._own)
        for path in journals.glob(f"shard-*/{NAME}"):
            for key, us in _read(path)[0].items():
                self._known[key] = max(us, self._known.get(key, 0))

    def last_us(self, claims: Sequence[str], connection: int) -> int | None:
        """Return since when some of the claims (FEED|TICKER, or FEED|*) were not heard.

        None when none of them ever was.
        """
        heard: list[int] = []
        for claim in claims:
            feed, ticker = claim.split("|")
            notes = self._notes(feed, connection)
            everything = notes.get("*", 0)
            names = notes if ticker == "*" else {ticker: 0}
            heard += [max(notes.get(name, 0), everything) for name in names]
        found = [us for us in heard if us] or [us for us in [self._torn_us] if us]
        return min(found or self._stored(claims), default=None)

    def _stored(self, claims: Sequence[str]) -> list[int]:
        """Return when something of the claims' feeds was last stored, where no note is left."""
        if self._own:
            return []  # notes of others: these claims are new
        feeds = {claim.split("|")[0] for claim in claims}
        return [us - TORN_MARGIN_US for feed, us in self._stored_us.items() if feed in feeds]

    async def save_durable(
        self,
        flush: Callable[[], Awaitable[object]],
        heard: Callable[[], Mapping[tuple[str, int], int]],
    ) -> None:
        """Flush, then keep what had been heard before the flush: no note is ahead of the journal.

        What comes while the flush is under way is not durable after it, and what a failed flush
        held is not kept at all.
        """
        before = dict(heard())
        await flush()
        await asyncio.to_thread(self.save, before)

    def save(self, heard: Mapping[tuple[str, int], int]) -> None:
        """Keep the times of (claim, connection) beside the older ones."""
        self._own |= {f"{claim}|{number}": us for (claim, number), us in heard.items() if us}
        new = self._path.with_suffix(".new")
        with suppress(OSError):  # the older note stays, and is as true as before
            new.write_text(json.dumps(self._own))
            os.replace(new, self._path)

    def _notes(self, feed: str, connection: int) -> dict[str, int]:
        """Return ticker -> time of one connection of a feed."""
        parts = [(key.split("|"), us) for key, us in self._known.items()]
        return {key[1]: us for key, us in parts if (key[0], key[2]) == (feed, str(connection))}


def _read(path: Path) -> tuple[dict[str, int], int | None]:
    """Return a file's notes; when it is torn, none, and what it can be dated by."""
    try:
        found = json.loads(path.read_text())
        return {str(k): int(v) for k, v in found.items() if str(k).count("|") == 2}, None
    except FileNotFoundError:
        return {}, None
    except (OSError, ValueError, AttributeError, TypeError):
        with suppress(OSError):
            return {}, path.stat().st_mtime_ns // 1000 - TORN_MARGIN_US
        return {}, None
