"""Parcels for a shard that another process owns: there is one way in, and this is its letter box.

A folder per shard beside the journals. A parcel is a file of blocks as the journal has them, named
whole by a rename; the owner takes it into its journal and then removes it. An owner that dies
between the two takes it again: keys take out what comes twice, and a released event is looked for
in the journal. A parcel of an instrument that the owner does not claim is left where it is.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import orjson

from lake.clock import Clock
from lake.errors import Damaged
from lake.ingest import control
from lake.ingest.claim import covered
from lake.ingest.intake import Intake
from lake.ingest.parcels_to_journal import Parcel, take
from lake.journal import block

SUFFIX = ".parcel"
DAMAGED = ".damaged"
"""What its owner could not read is set aside under this name."""

CLAIMS = "claims"
LOOK_S = 0.2


def inbox_of(home: Path, shard: int) -> Path:
    """Return the folder of a shard's parcels."""
    return home / "inbox" / f"shard-{shard}"


def post(folder: Path, parcel: Parcel, claims: Sequence[str], clock: Clock) -> Path:
    """Leave a parcel for the owner; durable when this returns. Returns its place."""
    folder.mkdir(parents=True, exist_ok=True)
    now_us = clock.now_us()
    path = folder / f"{now_us:020}-{os.getpid()}{SUFFIX}"
    new = path.with_suffix(".new")
    blocks = [_block(CLAIMS, [orjson.dumps(list(claims))], now_us, block.KIND_CONTROL)]
    if parcel.frames:
        of_frames = (parcel.since_us, block.KIND_FRAMES, parcel.connection)
        blocks.append(_block(parcel.feed, list(parcel.frames), *of_frames))
    for feed, record in parcel.records:
        blocks.append(_block(feed, [control.dump(record)], now_us, block.KIND_CONTROL))
    with new.open("wb") as file:
        file.write(b"".join(blocks))
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    return path


def _block(
    feed: str,
    frames: list[bytes],
    time_us: int,
    kind: int,
    connection: int = control.HISTORY_CONNECTION,
) -> bytes:
    return block.encode(feed, kind, connection, 1, frames, [time_us] * len(frames))


def opened(path: Path) -> tuple[list[str], Parcel]:
    """Return the claims and the contents of a posted parcel; raises Damaged."""
    raw = path.read_bytes()
    blocks = []
    at = 0
    while at < len(raw):
        size = block.size_of(raw[at : at + block.HEADER.size])
        if not size:
            raise Damaged(str(path), "is no parcel", "remove it and run its backfill again")
        blocks.append(block.decode(raw[at : at + size], str(path)))
        at += size
    claims, *rest = blocks
    of_frames = next((each for each in rest if each.kind == block.KIND_FRAMES), None)
    records = [
        (each.feed, control.load(raw))
        for each in rest
        if each.kind == block.KIND_CONTROL
        for raw in _frames(each)
    ]
    parcel = Parcel([], records, path.unlink)
    if of_frames is not None:
        parcel = replace(
            parcel,
            frames=_frames(of_frames),
            feed=of_frames.feed,
            connection=of_frames.connection,
            since_us=int(of_frames.received_us[0]),
        )
    return list(orjson.loads(_frames(claims)[0])), parcel


def _frames(one: block.Block) -> list[bytes]:
    frames, at = [], 0
    for length in one.lengths.tolist():
        frames.append(one.payload[at : at + length])
        at += length + 1
    return frames


class InboxToJournal:
    """Take what others leave for this shard, for as long as its ingest runs.

    claims: of this ingest.
    """

    def __init__(self, folder: Path, claims: Sequence[str]) -> None:
        self._folder = folder
        self._claims = list(claims)

    async def run(self, intake: Intake, clock: Clock, ended: asyncio.Event) -> None:
        """Look again and again until `ended` is set; a damaged parcel is set aside, and said."""
        while not ended.is_set():
            for path in sorted(self._folder.glob(f"*{SUFFIX}")):
                if ended.is_set():
                    return
                await self._take(path, intake, clock, ended)
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), LOOK_S)

    async def _take(self, path: Path, intake: Intake, clock: Clock, ended: asyncio.Event) -> None:
        try:
            claims, parcel = await asyncio.to_thread(opened, path)
        except FileNotFoundError:
            return  # its sender has taken it back
        except Damaged as error:
            # not the owner's fault: its sockets go on, and whoever sent it is still waiting
            print(f"inbox: {error}", file=sys.stderr, flush=True)
            path.rename(path.with_suffix(DAMAGED))
            return
        if covered(claims, self._claims):
            with suppress(FileNotFoundError):
                await take(parcel, intake, clock, ended)
