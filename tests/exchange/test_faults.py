"""Each fault is what its option says, and nothing else is touched by it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError

from infra.exchange.options import Silence
from infra.exchange.poison import POISON_KINDS, is_frame
from lake.clock import SystemClock
from lake.feeds.codec import frames_of
from lake.feeds.massive import MassiveCodec
from tests.exchange.listening import (
    ANSWER_S_MAX,
    BASE_US,
    Event,
    events,
    events_until,
    exchange,
    frames_for,
    frames_of_all,
    subscribed,
)

LIMITED = {"rate": 2_000, "events": 600, "base_us": BASE_US, "start_when_subscribed": True}


async def run(*topics: str, **options: Any) -> list[Event]:
    """Return all events of a limited flow."""
    async with (
        exchange(**{**LIMITED, **options}) as (running, url),
        subscribed(url, *topics) as socket,
    ):
        return list(events(await frames_of_all(running, socket)))


def clean() -> list[Event]:
    return asyncio.run(run("XT.*", "XQ.*"))


def text(event: Event) -> str:
    return json.dumps(event)


def test_cuts_end_connections_without_a_word() -> None:
    async def scenario() -> None:
        async with exchange(rate=500, cut_every_s=0.05) as (_, url):
            for _ in range(5):
                async with subscribed(url, "XT.*") as socket:
                    await frames_for(socket, ANSWER_S_MAX)
                    with pytest.raises(ConnectionClosedError) as cut:
                        await socket.recv()
                    assert cut.value.rcvd is None

    asyncio.run(scenario())


def test_duplicates_are_trades_that_were_sent_before_and_nothing_is_missing() -> None:
    found, wanted = asyncio.run(run("XT.*", "XQ.*", duplicates=0.3)), clean()
    seen: Counter[str] = Counter()
    first = []
    for event in found:
        if not seen[text(event)]:
            first.append(event)
        else:
            assert event["ev"] == "XT"
        seen[text(event)] += 1
    assert len(found) > len(wanted)
    assert first == wanted


def test_duplicates_keep_to_the_subscription() -> None:
    found = asyncio.run(run("XT.ETH-USD", duplicates=1.0))
    assert {event["pair"] for event in found} == {"ETH-USD"}


def test_late_events_are_held_back_and_the_others_keep_their_order() -> None:
    found, wanted = asyncio.run(run("XT.*", "XQ.*", late=0.2, late_s=0.3)), clean()
    assert Counter(map(text, found)) == Counter(map(text, wanted))
    place = {text(event): i for i, event in enumerate(wanted)}
    jumps = [place[text(event)] for event in found]
    late = sum(here < max(jumps[: i + 1]) for i, here in enumerate(jumps))
    assert 0.1 < late / len(found) < 0.3
    on_time = [here for i, here in enumerate(jumps) if here >= max(jumps[: i + 1])]
    assert on_time == sorted(on_time)


@pytest.mark.parametrize("kind", POISON_KINDS)
def test_poison_is_beside_the_real_events_and_is_found_bad(kind: str) -> None:
    async def scenario() -> list[bytes]:
        options = {**LIMITED, "events": 60, "base_us": 0, "poison": 1.0, "poison_kinds": (kind,)}
        async with exchange(**options) as (running, url), subscribed(url, "XT.*,XQ.*") as socket:
            return await frames_of_all(running, socket)

    frames = [frame for frame in asyncio.run(scenario()) if b'"status":' not in frame]
    decoded = MassiveCodec("sim").decode(frames_of(frames, received_us=SystemClock().now_us()))
    good = sum(table.num_rows for table in decoded.tables.values())
    bad = decoded.quarantine.num_rows + sum(decoded.ignored.values())
    assert good == 60
    assert bad == (len(frames) // 2 if is_frame(kind) else len(frames))


def span_ms(found: list[Event]) -> int:
    """Return the time between the first and the last of events."""
    times = [event["r"] for event in found]
    return max(times, default=0) - min(times, default=0)


def test_silence_sends_nothing_and_events_go_on_happening() -> None:
    async def scenario() -> list[Event]:
        quiet = (Silence(for_s=0.4, at_s=0.2),)
        async with (
            exchange(rate=1_000, first_id=1, silences=quiet, start_when_subscribed=True) as (
                _,
                url,
            ),
            subscribed(url, "XT.*") as socket,
        ):
            return await events_until(socket, lambda found: span_ms(found) > 800)

    found = asyncio.run(scenario())
    times = sorted(event["r"] for event in found)
    widest = max(b - a for a, b in pairwise(times))
    assert 390 <= widest <= 450
    passed = {x: [e["i"] for e in found if (e["pair"], e["x"]) == ("BTC-USD", x)] for x in (1, 2)}
    for ids in passed.values():
        assert ids[-1] - ids[0] + 1 > len(ids)


def test_a_reader_that_does_not_read_is_cut_off() -> None:
    async def scenario() -> None:
        async with (
            exchange(rate=100_000, slow_reader_bytes=1 << 16) as (running, url),
            subscribed(url, "XT.*,XQ.*") as socket,
        ):
            socket.transport.pause_reading()
            async with asyncio.timeout(ANSWER_S_MAX):
                while running.status()["connections"]:
                    await asyncio.sleep(0.05)
            socket.transport.abort()

    asyncio.run(scenario())
