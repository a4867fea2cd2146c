"""The order flow is seeded and whole: same options, same events; ids without holes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest

from infra.exchange.options import Burst
from infra.exchange.order_flow import DELAY_MS_MAX, TICK_US
from tests.exchange.listening import BASE_US, Event, events, exchange, frames_of_all, subscribed


async def run(**options: Any) -> list[Event]:
    """Return all events of a limited flow, as one listener gets them from the first on."""
    given = {
        "rate": 2_000,
        "events": 600,
        "base_us": BASE_US,
        "start_when_subscribed": True,
        **options,
    }
    async with exchange(**given) as (running, url), subscribed(url, "XT.*,XQ.*") as socket:
        return list(events(await frames_of_all(running, socket)))


def test_the_same_seed_and_base_give_the_same_events() -> None:
    first, again = asyncio.run(run(seed=5)), asyncio.run(run(seed=5))
    assert len(first) == 600
    assert first == again


def test_another_seed_gives_other_events() -> None:
    first, other = asyncio.run(run(seed=5)), asyncio.run(run(seed=6))
    assert [e["p"] for e in first if "p" in e] != [e["p"] for e in other if "p" in e]


def test_trade_ids_of_a_pair_and_venue_follow_one_another() -> None:
    ids = defaultdict(list)
    for event in asyncio.run(run(tickers=3, events=2_000, rate=8_000, first_id=1_000)):
        if event["ev"] == "XT":
            ids[event["pair"], event["x"]].append(event["i"])
    assert len(ids) == 3 * 4
    for found in ids.values():
        assert found == list(range(1_000, 1_000 + len(found)))


def test_events_carry_what_massive_s_do() -> None:
    found = asyncio.run(run(events=1_000, rate=4_000))
    fields = {
        "XT": {"ev", "pair", "p", "t", "s", "c", "i", "x", "r"},
        "XQ": {"ev", "pair", "bp", "bs", "ap", "as", "t", "x", "r"},
    }
    for event in found:
        assert set(event) == fields[event["ev"]]
        assert 0 <= event["r"] - event["t"] <= DELAY_MS_MAX + TICK_US // 1000
        if event["ev"] == "XT":
            assert event["c"] in ([0], [1], [2])
            assert event["p"] > 0
            assert event["s"] > 0
        else:
            assert event["ap"] > event["bp"] > 0
            assert min(event["bs"], event["as"]) > 0
    trades = sum(event["ev"] == "XT" for event in found)
    assert 0.4 < trades / len(found) < 0.5


def test_times_follow_the_rate_and_its_bursts() -> None:
    found = asyncio.run(
        run(events=1_200, rate=1_000, bursts=(Burst(rate=8_000, at_s=0.1, for_s=0.1),))
    )
    after_ms = [event["r"] - BASE_US // 1000 for event in found]
    assert sum(ms <= 100 for ms in after_ms) == 100
    assert sum(100 < ms <= 200 for ms in after_ms) == 800
    assert sum(200 < ms <= 300 for ms in after_ms) == 100


@pytest.mark.parametrize(("skew", "low", "high"), [(None, 0.75, 0.85), (0.2, 0.15, 0.25)])
def test_the_skew_is_the_first_ticker_s_share(skew: float | None, low: float, high: float) -> None:
    found = asyncio.run(run(tickers=10, skew=skew, events=2_000, rate=8_000))
    assert low < sum(event["pair"] == "BTC-USD" for event in found) / len(found) < high


def test_a_frame_holds_no_more_events_than_told() -> None:
    async def scenario() -> None:
        async with (
            exchange(rate=5_000, events=500, events_per_frame=7, start_when_subscribed=True) as (
                running,
                url,
            ),
            subscribed(url, "XT.*,XQ.*") as socket,
        ):
            sizes = [frame.count(b'"pair"') for frame in await frames_of_all(running, socket)]
            assert sum(sizes) == 500
            assert max(sizes) == 7

    asyncio.run(scenario())
