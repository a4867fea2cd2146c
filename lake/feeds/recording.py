"""Recorded feeds, read back as they came: receive time and raw frame.

Known: Binance frames (`<local time> <frame>` a line, nanoseconds or microseconds), captures of
`<unix seconds>: <frame>` a line (Coinbase, Kraken, Binance; the client's own lines are passed
over), and sentiment records (JSON lines). Plain or gzip.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from lake.errors import BadFrame, BadInput
from lake.feeds.sentiment import record_time_us

FRAMES_AT_ONCE = 1_000
HEAD_LINES_MAX = 200
"""Lines looked at to tell what a file is."""

CHUNK_BYTES = 16 << 10
LINE_BYTES_MAX = 16 << 20
"""No frame comes near; what does is no recording."""

GZIP_FORMAT = 31
"""zlib's word for a gzip header and trailer around the largest window."""

GZIP_MAGIC = b"\x1f\x8b"
NUMBERED = re.compile(rb"(\d{16}|\d{19}) ([\[{].*)", re.DOTALL)
TIMED = re.compile(rb"(\d{10}(?:\.\d+)?): ([\[{].*)", re.DOTALL)
OWN_LINE = re.compile(rb"\S+://\S+ (<-|->|<->) |configuration: ")
BINANCE_MARKETS = {"spot_": "spot", "usdm_": "usdm", "cm_": "coinm"}

Received = tuple[int, bytes]
ParseLine = Callable[[bytes], Received | None]


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that can be read; feed names the codec of its frames."""

    path: Path
    feed: str
    parse: ParseLine

    def only(self, tickers: Collection[str]) -> Recording:
        """Return it without the frames that name tickers, and none of these (as X:BTCUSD)."""
        pattern, parse = _SYMBOLS[self.feed.partition(".")[0]], self.parse

        def parse_some(line: bytes) -> Received | None:
            names = pattern.findall(line)
            if names and not any(_ticker(name.decode()) in tickers for name in names):
                return None
            return parse(line)

        return replace(self, parse=parse_some)

    def batches(self) -> Iterator[list[Received]]:
        """Yield (receive time in UTC microseconds, raw frame) in order, many at a time.

        Raises BadInput where the file breaks off or a line is no frame, after everything before.
        """
        batch: list[Received] = []
        reached = 0
        try:
            for reached, line in _lines(self.path):
                found = self._parsed(reached, line)
                if found is not None:
                    batch.append(found)
                if len(batch) >= FRAMES_AT_ONCE:
                    yield batch
                    batch = []
        except BadInput:
            if batch:
                yield batch
            raise
        except (EOFError, zlib.error) as error:
            if batch:
                yield batch
            raise BadInput(
                f"{self.path} line {reached + 1}",
                "the file breaks off or is damaged here",
                "everything before it is ingested; fetch the recording again for the rest",
            ) from error
        if batch:
            yield batch

    def _parsed(self, number: int, line: bytes) -> Received | None:
        try:
            return self.parse(line)
        except BadInput as error:
            raise BadInput(f"{self.path} line {number}", error.fault, error.remedy) from error


def open_recording(path: Path) -> Recording:
    """Return what the file is by its contents. Raises BadInput in one sentence."""
    if not path.is_file():
        raise BadInput(str(path), "is no file", "name a recording")
    head: list[bytes] = []
    try:
        for _, line in _lines(path):
            head.append(line)
            if len(head) >= HEAD_LINES_MAX:
                break
    except (EOFError, zlib.error) as error:
        if not head:
            raise BadInput(str(path), "is a damaged gzip file", "fetch it again") from error
    except OSError as error:
        raise BadInput(str(path), str(error.strerror or error), "check the file") from error
    numbered = [found for line in head if (found := NUMBERED.fullmatch(line))]
    if numbered:
        return Recording(path, f"binance.{_market(path, head)}", _numbered)
    feed = _captured_feed(head)
    if feed is not None and any(TIMED.fullmatch(line) for line in head):
        return Recording(path, feed, _timed)
    if head and _is_sentiment(head[0]):
        return Recording(path, "sentiment", _sentiment)
    raise BadInput(
        str(path),
        "is no recording that is known (Binance, Coinbase, Kraken, sentiment)",
        "see `ticklake ingest --help`",
    )


def instruments(path: Path) -> set[tuple[str, str, str]]:
    """Return (venue, market, ticker) of every instrument in a recording, by a quick scan."""
    recording = open_recording(path)
    venue, _, market = recording.feed.partition(".")
    names: set[str] = set()
    pattern = _SYMBOLS[venue]
    try:
        for _, line in _lines(path):
            names.update(found.decode(errors="replace") for found in pattern.findall(line))
    except (EOFError, zlib.error):
        pass  # what is readable is what will be ingested; the reader says where it broke off
    return {(venue, market or "spot", _ticker(name)) for name in names}


_SYMBOLS = {
    "binance": re.compile(rb'"s":"([A-Z0-9_]+)"'),
    "coinbase": re.compile(rb'"product_id":"([A-Z0-9-]+)"'),
    "kraken": re.compile(rb'"([A-Z0-9]+/[A-Z0-9]+)"'),
    "sentiment": re.compile(rb'"asset"\s*:\s*"([^"]+)"'),
}


def _ticker(name: str) -> str:
    plain = name.replace("-", "").replace("/", "").replace("XBT", "BTC")
    return plain if plain.startswith("X:") else f"X:{plain}"


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (number from 1, line without its end) of a plain or gzip file."""
    rest, number = b"", 0
    for chunk in _chunks(path):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            number += 1
            yield number, line.rstrip(b"\r")
        if len(rest) > LINE_BYTES_MAX:
            raise BadInput(
                f"{path} line {number + 1}", f"is over {LINE_BYTES_MAX >> 20} MiB", "is it text?"
            )
    if rest:
        yield number + 1, rest.rstrip(b"\r")


def _chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's text, all that can be unpacked; raises EOFError, zlib.error after it."""
    with path.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        unpack = zlib.decompressobj(GZIP_FORMAT)
        while chunk := raw.read(CHUNK_BYTES):
            if not packed:
                yield chunk
                continue
            while chunk.strip(b"\0"):
                yield unpack.decompress(chunk)
                chunk = unpack.unused_data
                if unpack.eof and chunk.strip(b"\0"):
                    unpack = zlib.decompressobj(GZIP_FORMAT)
        if packed and not unpack.eof:
            raise EOFError


def _market(path: Path, head: list[bytes]) -> str:
    """Return the market by contents and by name; raises BadInput where the two disagree."""
    named = next((m for prefix, m in BINANCE_MARKETS.items() if path.name.startswith(prefix)), "")
    held = _market_held(b"".join(head))
    if named and held and named != held:
        raise BadInput(
            str(path), f"is named as {named} and holds frames of {held}", "name it as what it holds"
        )
    return held or named or "spot"


def _market_held(text: bytes) -> str:
    if b'"ps":"' in text or b"_PERP" in text:
        return "coinm"
    if any(mark in text for mark in (b'"X":"', b'"pu":', b'"e":"bookTicker"')):
        return "usdm"
    return "spot" if b'"M":true' in text or b'"data":{"u":' in text else ""


def _captured_feed(head: list[bytes]) -> str | None:
    for line in head:
        if b"coinbase" in line.split(b" ", 1)[0]:
            return "coinbase"
        if b"kraken" in line.split(b" ", 1)[0]:
            return "kraken"
        if line.startswith(b"wss://stream.binance"):
            return "binance.spot"
    return None


def _numbered(line: bytes) -> Received | None:
    if not line:
        return None
    found = NUMBERED.fullmatch(line)
    if found is None:
        raise BadInput("recording", f"{line[:60]!r} is no frame", "is the file whole?")
    digits = found[1]
    return int(digits) // (1000 if len(digits) == 19 else 1), found[2]


def _timed(line: bytes) -> Received | None:
    found = TIMED.fullmatch(line)
    if found is None:
        if not line or OWN_LINE.match(line):
            return None
        raise BadInput("recording", f"{line[:60]!r} is no frame", "is the file whole?")
    seconds, _, fraction = found[1].partition(b".")
    return int(seconds) * 1_000_000 + int(fraction[:6].ljust(6, b"0")), found[2]


def _sentiment(line: bytes) -> Received | None:
    return (_record_us(line), line) if line else None


def _record_us(line: bytes) -> int:
    """Return a record's own time: nobody wrote down when it was received."""
    try:
        return record_time_us(orjson.loads(line)["time"], 0)
    except (orjson.JSONDecodeError, BadFrame, TypeError, KeyError):
        return 0  # the codec will say what is wrong with it


def _is_sentiment(line: bytes) -> bool:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(found, dict) and "sentiment_score" in found
