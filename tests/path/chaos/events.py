"""Frames of a small market: trades, quotes, bars, redelivery, late and poisonous ones."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from infra.exchange.poison import POISON_KINDS, is_frame, poison_of

DAY_MS = 86_400_000
LARGE = ("fields-many", "event-huge")
"""Poison that costs too much time for thousands of runs; the codecs' own tests have it."""

POISON = tuple(kind for kind in POISON_KINDS if kind not in LARGE)
KINDS = ("trade", "named", "nameless", "quote", "bar", "second", "again", "poison")
WEIGHTS = (50, 4, 3, 18, 5, 3, 14, 5)
EVENTS_PER_FRAME_MAX = 4


@dataclass
class Market:
    """The pairs of one shard; what happens is decided by the random numbers handed in."""

    shard: int
    ids: Counter[str] = field(default_factory=Counter)
    sent: list[str] = field(default_factory=list)

    def frames(self, random: Random, count: int, now_us: int) -> list[bytes]:
        """Return frames of one to four events each."""
        return [self._frame(random, now_us // 1000) for _ in range(count)]

    def pass_a_day(self) -> None:
        """Say nothing again that has no key: a connection that is a day late is none of ours."""
        self.sent = [text for text in self.sent if '"i":' in text or '"ev":"XA' in text]

    def _frame(self, random: Random, now_ms: int) -> bytes:
        if random.random() < 0.05:
            kind = random.choice([kind for kind in POISON if is_frame(kind)])
            return poison_of(kind, now_ms)
        events = [
            self._event(random, now_ms) for _ in range(random.randint(1, EVENTS_PER_FRAME_MAX))
        ]
        comma = random.choice([",", ",", ",", " ,\n"])
        return ("[" + comma.join(events) + "]").encode()

    def _event(self, random: Random, now_ms: int) -> str:
        kind = random.choices(KINDS, WEIGHTS)[0]
        if kind == "again" and self.sent:
            return random.choice(self.sent)
        if kind == "poison":
            bad = random.choice([kind for kind in POISON if not is_frame(kind)])
            return poison_of(bad, now_ms).decode()
        pair = f"{random.choice('AB')}{self.shard}-USD"
        at_ms = now_ms - random.randint(0, 3_000)
        if random.random() < 0.08:
            at_ms -= random.randint(0, 2 * DAY_MS)
        text = json.dumps(self._values(random, kind, pair, at_ms), separators=(",", ":"))
        self.sent.append(text)
        return text

    def _values(self, random: Random, kind: str, pair: str, at_ms: int) -> dict[str, object]:
        price = random.randint(1, 10**6) / 100
        size = random.randint(1, 10**6) / 10**5
        exchange = random.randint(1, 2)
        if kind == "quote":
            sizes = {"bs": size, "as": size}
            prices = {"bp": price, "ap": price + 1}
            return {"ev": "XQ", "pair": pair, **prices, **sizes, "t": at_ms, "x": exchange}
        if kind in ("bar", "second"):
            name, length = ("XA", 60_000) if kind == "bar" else ("XAS", 1_000)
            start = at_ms // length * length
            ohlc = {"o": price, "h": price + 2, "l": price / 2, "c": price + 1}
            return {"ev": name, "pair": pair, **ohlc, "v": size, "s": start, "e": start + length}
        trade = {"ev": "XT", "pair": pair, "p": price, "t": at_ms, "s": size, "c": [2]}
        trade["x"] = exchange
        if kind == "nameless":
            return trade
        key = f"{exchange}{pair}"
        self.ids[key] += random.choice([1, 1, 1, 5])
        number = self.ids[key]
        return {**trade, "i": f"n-{number}" if kind == "named" else number}
