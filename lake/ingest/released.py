"""A released event: the frame that its codec stores now, and where a journal has it.

Its frame comes from a connection of its own, RELEASED_CONNECTION; from there on it is a frame like
any other: counted, stored once, refused if it still is no good. What was quarantined stays in
quarantine, so the ledger and the journal go on saying the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from lake.errors import BadInput
from lake.feeds.codec import Codec, Decoded, frames_of
from lake.ingest.control import RELEASED_CONNECTION
from lake.journal.reader import JournalReader
from lake.journal.segment import segments

READ_FRAMES_MAX = 20_000
READ_BYTES_MAX = 8 << 20


@dataclass(frozen=True, slots=True)
class Released:
    """An event to take in: the feed whose codec reads it, its frame, the tickers it is about."""

    feed: str
    frame: bytes
    tickers: tuple[str, ...] = ()

    def claims(self) -> list[str]:
        """Return what it is about, as claims of a shard."""
        return [f"{self.feed}|{ticker}" for ticker in self.tickers]


def readable_event(
    codecs: Mapping[str, Codec], feed: str, raw: bytes, thing: str, now_us: int
) -> Released:
    """Return a quarantined event as a frame that its codec stores now.

    raw: an event's own bytes, or a frame; a feed whose frames are arrays gets one around it.
    Raises BadInput, with the codec's words, where it still refuses.
    """
    fault = ""
    for frame in (raw, b"[" + raw + b"]"):
        decoded = codecs[feed].decode(frames_of([frame], received_us=now_us))
        if not decoded.quarantine.num_rows and decoded.tables:
            return Released(feed, frame, _tickers(decoded))
        said = decoded.quarantine.select(["reason", "detail"]).to_pylist()
        words = "; ".join(f"{each['reason']} ({each['detail']})" for each in said)
        fault = words or "it holds nothing to store"
    raise BadInput(
        thing,
        f"feed {feed} would refuse it again: {fault}",
        f"give a corrected event with --with FILE, or: ticklake quarantine refuse {thing}",
    )


def _tickers(decoded: Decoded) -> tuple[str, ...]:
    names = [table["ticker"] for table in decoded.tables.values()]
    return tuple(sorted(set(pa.chunked_array([c for n in names for c in n.chunks]).to_pylist())))


def journalled(folder: Path, shard: int, released: Released, since_us: int) -> int | None:
    """Return the frame of a shard's journal that holds a released event; None: none does.

    since_us: when it was decided; older segments are not read.
    """
    since_ns = since_us * 1_000
    young = [each for each in segments(folder) if each.path.stat().st_mtime_ns >= since_ns]
    if not young:
        return None
    reader = JournalReader(folder, shard)
    try:
        return next(_frames_alike(reader, young[0].first_frame, released), None)
    finally:
        reader.close()


def _frames_alike(reader: JournalReader, first: int, released: Released) -> Iterator[int]:
    at = first
    while runs := reader.read(at, frames_max=READ_FRAMES_MAX, bytes_max=READ_BYTES_MAX):
        for run in runs:
            at = run.frames.last_frame + 1
            if run.control or run.feed != released.feed:
                continue
            for i in (run.frames.connection == RELEASED_CONNECTION).nonzero()[0].tolist():
                if run.frames[i] == released.frame:
                    yield run.frames.first_frame + i
