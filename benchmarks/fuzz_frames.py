"""Fuzzed frames through the columnar decoders and their references: one outcome, nothing else lost.

    python benchmarks/fuzz_frames.py [--frames 100000] [--seed 1] [--json]

Valid frames of Massive and of Binance are changed, in their fields (other types, odd numbers, keys
gone, doubled or new) and in their bytes (flipped, cut, doubled, foreign); so many of each venue are
decoded alone and among frames with nothing wrong. It ends with 1 where the columnar decoder and the
reference differ in a row, a quarantined event or a count, where an event of a frame with nothing
wrong is not stored, or where a decoder broke on a frame; the first such frames are told.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import string
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks import _venue_frames as venue
from lake.feeds.binance import BinanceCodec
from lake.feeds.binance_columns import BinanceColumns
from lake.feeds.codec import INDEX_BITS, Codec, Decoded, frames_of
from lake.feeds.coinbase import CoinbaseCodec
from lake.feeds.kraken import KrakenCodec
from lake.feeds.massive import MassiveCodec
from lake.feeds.massive_columns import MassiveColumns
from lake.feeds.sentiment import SentimentCodec

NOW_MS = 1_700_000_000_000
RUN_FRAMES = (*(1,) * 20, *(2,) * 4, *(8,) * 2, 64)
"""Sizes of the runs of changed frames: alone, a frame is judged by the columns more often."""

WHOLE_FRAMES_MAX = 3
EXAMPLES_MAX = 5
FIELD = re.compile(r'"(\w+)":("[^"]*"|\[[^\]]*\]|[^,}\]]+)')
NUMBER = re.compile(r"-?\d+(\.\d+)?")
TOKENS = [
    *(b"},{", b"}]", b"[{", b"}", b"{", b"[", b"]", b'"', b",", b":", b" ", b"\n", b"\r", b"\t"),
    *(b"\\", b"\\u0041", b"\\ud800", b'\\"', b"\x00", b"\xff", b"\xed\xa0\x80", b"\xc3\xa9"),
    *(
        b"-",
        b"+",
        b".",
        b"0",
        b"e5",
        b"E-3",
        b"null",
        b"true",
        b"NaN",
        b"Infinity",
        b"\xef\xbb\xbf",
    ),
]
VALUES = [
    *("null", "true", "false", "[]", "{}", "[[]]", "[null]", "[1,2]", '{"p":1}', '"XT"', '["XT"]'),
    *('""', '"nan"', '"inf"', '" 1"', '"+1"', '"1 "', '"0x10"', '"1_0"', '"},{"', '"}]"', '"[{"'),
    *('"\'; DROP TABLE x; --"', '"../../etc/passwd"', '"é"', '"\\u00e9"', '"\\ud83d"', '"\\n"'),
    *('"BTC-USD"', '"btc-usd"', '"A-B-C"', '"BTCUSDT"', '"12"', "NaN", "-Infinity", "1e400", "-0"),
    *("01", "1.", ".5", "1e-11", "9223372036854775808", "18446744073709551616", "5e-324"),
    *(str(NOW_MS // 1000), str(NOW_MS * 1000), str(NOW_MS + 60_001), f"{NOW_MS}.0", f"{NOW_MS}.5"),
    *("0", "0.0", "-0.0", "922337203.7", "920000000", "999999.9999999999", "1e5", "1E+5"),
]


@dataclass
class Fuzzer:
    """Draws frames, valid and changed, the same ones for the same seed."""

    chance: random.Random

    def massive(self) -> bytes:
        """Return a frame of trades and quotes with nothing wrong."""
        events = [self._trade() if self.chance.random() < 0.5 else self._quote() for _ in "12"]
        return _compact(events[: self.chance.randrange(1, 3)])

    def massive_any(self) -> bytes:
        """Return a frame that may hold bars and status too."""
        others: list[dict[str, Any]] = [
            {"ev": "status", "status": "success", "message": "subscribed to: XT.BTC-USD"},
            {"ev": "XA", "pair": "BCD-USD", "v": 951.6112, "vw": 0.7756, "z": 73, "o": 0.772}
            | {"c": 0.784, "h": 0.784, "l": 0.771, "s": NOW_MS - 60_000, "e": NOW_MS},
        ]
        drawn = self.chance.choice([self._trade(), self._trade(), self._quote(), *others])
        return _compact([drawn, self._trade(), self._quote()][: self.chance.randrange(1, 4)])

    def binance(self) -> bytes:
        """Return a trade or a quote with nothing wrong."""
        event = self._binance_quote() if self.chance.random() < 0.5 else self._binance_trade()
        return _compact({"stream": "btcusdt@x", "data": event})

    def binance_any(self) -> bytes:
        """Return a frame of a combined stream or a bare one, of a book or an answer too."""
        quote = self._binance_quote()
        events: list[dict[str, Any]] = [
            *([self._binance_trade()] * 3),
            *([quote] * 3),
            {name: value for name, value in quote.items() if name not in "eTE"},
            {"e": "depthUpdate", "s": "BTCUSDT", "b": [["1.0", "0"]], "a": []},
            {"result": None, "id": 1},
        ]
        event = self.chance.choice(events)
        bare = self.chance.random() < 0.4
        return _compact(event if bare else {"stream": "btcusdt@x", "data": event})

    def coinbase(self) -> bytes:
        """Return a match or a ticker with nothing wrong."""
        return _compact(venue.coinbase_event(self.chance))

    def coinbase_any(self) -> bytes:
        """Return a frame that may be a heartbeat or an answer too."""
        return _compact(venue.coinbase_any(self.chance))

    def kraken(self) -> bytes:
        """Return trades or a ticker with nothing wrong."""
        return _compact(venue.kraken_frame(self.chance))

    def kraken_any(self) -> bytes:
        """Return a frame of either version, of an answer or a heartbeat too."""
        return _compact(venue.kraken_any(self.chance))

    def sentiment(self) -> bytes:
        """Return a record with nothing wrong."""
        return _compact(venue.sentiment_record(self.chance))

    sentiment_any = sentiment

    def changed(self, frame: bytes) -> bytes:
        """Return the frame with fields, bytes or both changed."""
        how = self.chance.random()
        if how < 0.75:
            text = frame.decode()
            for _ in range(self.chance.choice([1, 1, 1, 2, 3])):
                text = self._field_changed(text)
            frame = text.encode()
        if how > 0.6:
            for _ in range(self.chance.choice([1, 1, 2, 4])):
                frame = self._bytes_changed(frame)
        return frame

    def _field_changed(self, text: str) -> str:
        fields = list(FIELD.finditer(text))
        if not fields:
            return text + self.chance.choice(VALUES)
        found = self.chance.choice(fields)
        name, value = found[1], found[2]
        other = self.chance.choice(fields)[1]
        new = self.chance.choice(
            [
                f'"{name}":{self.chance.choice(VALUES)}',
                f'"{name}":{self.chance.choice(VALUES)}',
                f'"{name}":{self._number()}',
                f'"{name}":{self._number()}',
                f'"{name}":"{self._number()}"',
                f'"{name}":{json.dumps(value)}',
                f'"{name}":{value.strip(chr(34))}',
                f'"{name}": {value} ',
                f'"{name}" :{value}',
                f'"{other}":{value}',
                f'"{name}":{value},"{other}":{self.chance.choice(VALUES)}',
                f'"{name}":{value},"{self._word()}":{self.chance.choice(VALUES)}',
                f'"{self._word()}":{value}',
                f'"{name}":[{value}]',
                f'"{name}":{{"{other}":{value}}}',
            ]
        )
        start, end = found.span()
        if self.chance.random() < 0.1:
            new, end = "", end + (text[end : end + 1] == ",")
        return text[:start] + new + text[end:]

    def _bytes_changed(self, frame: bytes) -> bytes:
        at, until = sorted(self.chance.randrange(len(frame) + 1) for _ in "12")
        change = self.chance.randrange(7)
        if change == 0:
            return frame[:at] + self.chance.choice(TOKENS) + frame[at:]
        if change == 1:
            return frame[:at] + self.chance.choice(TOKENS) + frame[at + 1 :]
        if change == 2:
            return frame[:at] + self.chance.randbytes(1) + frame[at + 1 :]
        if change == 3:
            return frame[:at] + frame[min(until, at + 12) :]
        if change == 4:
            return frame[:at] + frame[at:until] * 2 + frame[until:]
        if change == 5:
            return frame[:at] if self.chance.random() < 0.5 else frame + frame[:at]
        return frame.replace(b",", self.chance.choice([b", ", b",\r", b" ,", b",\n"]))

    def _number(self) -> str:
        digits = "".join(self.chance.choices(string.digits, k=self.chance.randrange(1, 21)))
        point = self.chance.randrange(len(digits) + 1)
        text = f"{int(digits[:point] or 0)}.{digits[point:]}" if digits[point:] else digits
        sign = self.chance.choice(["", "", "", "-"])
        exponent = self.chance.choice(
            ["", "", "", "e-7", "E+9", f"e{self.chance.randrange(-30, 30)}"]
        )
        return sign + text + exponent

    def _word(self) -> str:
        return self.chance.choice(["a", "note", "é", "", "P", "ev ", "data", "stream", "x.y"])

    def _decimal(self, digits: int = 9, decimals: int = 8) -> float:
        whole = self.chance.randrange(1, 10 ** self.chance.randrange(1, digits + 1))
        return whole / 10 ** self.chance.randrange(decimals + 1)

    def _trade(self) -> dict[str, Any]:
        late = self.chance.randrange(1000)
        identity = self.chance.choice(
            [self.chance.randrange(10**9), str(self.chance.randrange(10**9)), "a-7"]
        )
        event = {"ev": "XT", "pair": "BTC-USD", "p": self._decimal(), "t": NOW_MS - late}
        event |= {"s": self._decimal(), "c": self.chance.choice([[2], [1], [0], [], [5, 1], None])}
        return event | {"i": identity, "x": self.chance.randrange(5), "r": NOW_MS}

    def _quote(self) -> dict[str, Any]:
        event = {
            "ev": "XQ",
            "pair": "ETH-USD",
            "bp": self._decimal(),
            "bs": 0,
            "ap": self._decimal(),
        }
        return event | {"as": self._decimal(), "t": NOW_MS, "x": 1, "r": NOW_MS}

    def _binance_trade(self) -> dict[str, Any]:
        event = {"e": "trade", "E": NOW_MS, "T": NOW_MS, "s": "BTCUSDT"}
        event |= {
            "t": self.chance.randrange(1, 10**10),
            "p": f"{self._decimal():.8f}",
            "q": "0.006",
        }
        return event | {"X": self.chance.choice(["MARKET", "NA"]), "m": self.chance.random() < 0.5}

    def _binance_quote(self) -> dict[str, Any]:
        event = {"e": "bookTicker", "u": self.chance.randrange(10**12), "s": "BTCUSD_PERP"}
        event |= {"b": f"{self._decimal():.8f}", "B": "2.507", "a": "61800.30000000", "A": "2510"}
        return event | {"T": NOW_MS, "E": NOW_MS}


def _compact(found: Any) -> bytes:
    return json.dumps(found, separators=(",", ":")).encode()


@dataclass
class Outcome:
    """What became of the frames of one venue."""

    frames: int = 0
    events: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    stored: int = 0
    ignored: int = 0
    different: int = 0
    lost: int = 0
    broken: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Tell whether nothing went wrong."""
        return not (self.different or self.lost or self.broken)


@dataclass
class Trial:
    """One venue's two decoders over runs of frames; event: what each event has once."""

    fast: Codec
    slow: Codec
    event: bytes
    outcome: Outcome = field(default_factory=Outcome)

    def run(self, changed: list[bytes], whole: list[bytes], received_us: int) -> None:
        """Decode changed frames, each whole one in front of one of them; count what went wrong."""
        raw = [frame for pair in zip(whole, changed, strict=False) for frame in pair]
        raw += changed[len(whole) :]
        frames = frames_of(raw, shard=3, first_frame=7, received_us=received_us, connection=2)
        found, truth = self.fast.decode(frames), self.slow.decode(frames)
        outcome = self.outcome
        outcome.frames += len(changed)
        outcome.events += found.events
        outcome.stored += sum(table.num_rows for table in found.tables.values())
        outcome.ignored += sum(found.ignored.values())
        reasons = Counter(found.quarantine["reason"].to_pylist())
        outcome.reasons += reasons
        outcome.broken += reasons["decoder_fault"]
        wrong = reasons["decoder_fault"] > 0
        if not same(found, truth):
            outcome.different += 1
            wrong = True
        for place, frame in enumerate(whole):
            number = 7 + 2 * place
            missing = frame.count(self.event) - rows(found, number)
            outcome.lost += missing
            wrong = wrong or missing > 0
        if wrong and len(outcome.examples) < EXAMPLES_MAX:
            outcome.examples.append(repr(raw)[:2_000])


def rows(decoded: Decoded, number: int) -> int:
    """Return how many rows a frame has."""
    return sum(
        pc.sum(pc.equal(pc.shift_right(table["seq"], INDEX_BITS), number)).as_py() or 0
        for table in decoded.tables.values()
    )


def same(found: Decoded, truth: Decoded) -> bool:
    """Tell whether two outcomes are one: rows, types and order, quarantine, counts."""
    names = {*found.tables, *truth.tables}
    tables = all(_equal(found.tables.get(name), truth.tables.get(name)) for name in names)
    counts = (dict(found.ignored), found.events) == (dict(truth.ignored), truth.events)
    stored = sum(table.num_rows for table in found.tables.values())
    every = stored + found.quarantine.num_rows + sum(found.ignored.values())
    return (
        tables and counts and every == found.events and _equal(found.quarantine, truth.quarantine)
    )


def _equal(one: pa.Table | None, other: pa.Table | None) -> bool:
    if one is None or other is None:
        return not (one or other)
    return bool(one.equals(other))


def runs(seed: int, frames: int, valid: str) -> Iterator[tuple[list[bytes], list[bytes], int]]:
    """Yield (changed frames, whole frames, receive time in UTC microseconds)."""
    fuzzer = Fuzzer(random.Random(f"{seed} {valid}"))
    whole: Callable[[], bytes] = getattr(fuzzer, valid)
    start: Callable[[], bytes] = getattr(fuzzer, f"{valid}_any")
    drawn = iter(lambda: fuzzer.changed(start()), None)
    left = frames
    while left > 0:
        changed = list(islice(drawn, min(fuzzer.chance.choice(RUN_FRAMES), left)))
        left -= len(changed)
        beside = [whole() for _ in range(fuzzer.chance.randrange(WHOLE_FRAMES_MAX + 1))]
        received_us = fuzzer.chance.choice([NOW_MS * 1000] * 8 + [0, NOW_MS * 1000 + 999])
        yield changed, beside[: len(changed)], received_us


def fuzz(seed: int, frames: int) -> dict[str, Outcome]:
    """Run so many frames of each venue; return what became of them."""
    trials = {
        "massive": Trial(MassiveColumns("sim"), MassiveCodec("sim"), b'"ev":'),
        "binance": Trial(BinanceColumns("usdm"), BinanceCodec("usdm"), b'"T":'),
        "coinbase": Trial(CoinbaseCodec(), CoinbaseCodec(), b'"product_id":'),
        "kraken": Trial(KrakenCodec(), KrakenCodec(), b'"symbol":'),
        "sentiment": Trial(SentimentCodec(), SentimentCodec(), b'"asset":'),
    }
    for name, trial in trials.items():
        for changed, whole, received_us in runs(seed, frames, name):
            trial.run(changed, whole, received_us)
    return {name: trial.outcome for name, trial in trials.items()}


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100_000, help="of each venue")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    start = time.perf_counter()
    found = fuzz(options.seed, options.frames)
    seconds = round(time.perf_counter() - start, 1)
    told = {"seed": options.seed, "seconds": seconds}
    venues = {venue: vars(outcome) for venue, outcome in found.items()}
    if options.json:
        print(json.dumps(told | venues))
    else:
        for name, value in told.items():
            print(f"{name:>20} {value}")
        for venue, values in venues.items():
            for name, value in values.items():
                counts = value.most_common() if isinstance(value, Counter) else []
                told_value = ", ".join(f"{reason} {count}" for reason, count in counts) or value
                print(f"{venue + ' ' + name:>20} {told_value}")
    return 0 if all(outcome.right for outcome in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
