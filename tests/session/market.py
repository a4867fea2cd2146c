"""A market of frames by chance, with all that goes wrong: late ticks, repeats, crossed books."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from feature_repo.trading.costs import Costs
from feature_repo.trading.limits import Limits
from feature_repo.trading.money import UNIT
from lake.feeds.codec import Frames, frames_of
from serving.risk.limits import RiskLimits
from serving.session.plan import Opening, Plan, Start

MINUTE_US = 60_000_000
NOON_US = 1_760_011_200_000_000 // MINUTE_US * MINUTE_US
PAIRS = ("BTC-USD", "ETH-USD")
FEED = "sim"
CODE = "code-of-tests"

PLAN = Plan(
    {
        "moving-average-cross": {"fast": "1", "slow": "2", "size": "0.5", "short": "yes"},
        "mean-reversion": {"window": "2", "enter": "0.5", "size": "0.25", "short": "yes"},
        "buy-and-hold": {"size": "2"},
    },
    cash=100_000 * UNIT,
    costs=Costs(maker=-100, taker=500, slippage=100, latency_us=20_000),
    limits=RiskLimits(order=Limits(size=3 * UNIT), position=5 * UNIT),
)


@dataclass(frozen=True)
class Market:
    """Frames and when each was received; frame i has the number first + i."""

    raw: list[bytes]
    received_us: list[int]
    first: int = 1

    def frames(self, at: int = 0, upto: int | None = None, shard: int = 0) -> Frames:
        """Return frames from one place of the list to another, exclusive, as a codec takes them."""
        upto = len(self.raw) if upto is None else upto
        return frames_of(
            self.raw[at:upto],
            received_us=self.received_us[at:upto],
            shard=shard,
            first_frame=self.first + at,
        )


def market(
    seed: int,
    count: int = 300,
    *,
    step_us: int = 1_000_000,
    start_us: int = NOON_US,
    first: int = 1,
) -> Market:
    """Return so many frames: quotes and trades of two pairs, with all that goes wrong."""
    chance = random.Random(seed)
    raw: list[bytes] = []
    received: list[int] = []
    now_us, price = start_us, dict.fromkeys(PAIRS, 100.0)
    for n in range(count):
        now_us += max(1, int(chance.expovariate(1 / step_us)))
        if chance.random() < 0.01:
            now_us += chance.randint(1, 130) * 1_000_000  # silence
        stamp_us = now_us - (5_000_000 if chance.random() < 0.02 else 0)  # the clock steps back
        if raw and chance.random() < 0.05:
            raw.append(raw[chance.randrange(len(raw))])  # what was said before
        else:
            raw.append(json.dumps(list(_events(chance, n, now_us, price))).encode())
        received.append(stamp_us)
    return Market(raw, received, first)


def _events(
    chance: random.Random, n: int, now_us: int, price: dict[str, float]
) -> Iterator[dict[str, object]]:
    for i in range(chance.randint(1, 3)):
        pair = chance.choice(PAIRS)
        price[pair] *= 1 + chance.gauss(0, 0.002)
        shown = price[pair] * (20 if chance.random() < 0.005 else 1)  # a spike
        late_us = chance.randint(1, 90) * 1_000_000 if chance.random() < 0.05 else 2_000
        at_ms = (now_us - late_us) // 1_000
        if chance.random() < 0.6:
            ask = shown * (0.99 if chance.random() < 0.02 else 1.0002)  # a crossed book
            sizes = {"bs": chance.randint(0, 9) / 10, "as": chance.randint(0, 9) / 10}
            quote = {"ev": "XQ", "pair": pair, "bp": round(shown, 2), "ap": round(ask, 2)}
            yield quote | sizes | {"t": at_ms, "x": 1, "r": at_ms}
        else:
            trade = {"ev": "XT", "pair": pair, "p": round(shown, 2), "s": chance.randint(1, 9) / 10}
            yield trade | {"t": at_ms, "c": [2], "i": f"{n}{i}", "x": 1, "r": at_ms}


def start(plan: Plan = PLAN, *, first: int = 1, started_us: int = NOON_US) -> Start:
    """Return the start of a session in which every account has its cash."""
    openings = {name: Opening(plan.cash) for name in plan.strategies}
    return Start("20251009-0-1", 0, 1, first, started_us, plan, openings, "", CODE)
