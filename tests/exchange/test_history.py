"""What the exchange says it sent is what a listener got: its truth log, its history, its bars."""

from __future__ import annotations

import asyncio
import json
import urllib.error
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from infra.exchange.history import HistoryLimits
from infra.exchange.options import Silence
from infra.exchange.order_flow import VENUES
from infra.exchange.pairs import PRICE_UNITS, SIZE_UNITS, pair_names
from tests.exchange.listening import (
    BASE_US,
    Event,
    events,
    exchange,
    frames_of_all,
    subscribed,
)
from tests.exchange.test_conversation import fetched

LIMITED = {"rate": 2_000, "events": 1_000, "start_when_subscribed": True}
EVERYTHING = ("XT.*", "XQ.*", "XA.*", "XAS.*")


def truth_of(path: Path) -> list[dict[str, Any]]:
    """Return the log's rows in the order sent."""
    return pa.ipc.open_stream(path.read_bytes()).read_all().to_pylist()


def seen(event: Event) -> dict[str, Any]:
    """Return what the truth log says of an event, but for when it was sent."""
    return {
        "trade": event["ev"] == "XT",
        "pair": pair_names(2).index(event["pair"]),
        "venue": VENUES.index(event["x"]),
        "trade_id": event.get("i", 0),
        "time_ms": event["t"],
        "price": round(event.get("p", event.get("bp")) * PRICE_UNITS),
        "size": round(event.get("s", event.get("bs")) * SIZE_UNITS),
    }


async def history(url: str, from_us: int, to_us: int, **more: str) -> list[Event]:
    """Ask for what was sent in a span."""
    asked = "&".join(f"{name}={value}" for name, value in more.items())
    address = url.replace("/crypto", f"/v1/history?from_us={from_us}&to_us={to_us}&{asked}")
    body = await fetched(address)
    return list(events([line for line in body.split(b"\n") if line]))


@pytest.mark.parametrize("late", [0.0, 0.2])
def test_truth_and_history_are_what_a_listener_got(tmp_path: Path, late: float) -> None:
    path = tmp_path / "truth"

    async def scenario() -> tuple[list[Event], dict[str, list[Event]], tuple[int, int]]:
        options = {**LIMITED, "late": late, "late_s": 0.2, "truth": str(path)}
        async with exchange(**options) as (running, url), subscribed(url, "XT.*,XQ.*") as socket:
            got = list(events(await frames_of_all(running, socket)))
            sent = [row["sent_us"] for row in truth_of(path)]
            span = sent[len(sent) // 3], sent[len(sent) // 2]
            trades_and_quotes = {"events": "XT,XQ"}
            asked = {
                "all": await history(url, 0, sent[-1] + 1, **trades_and_quotes),
                "span": await history(url, *span, **trades_and_quotes),
                "trades": await history(url, *span, events="XT"),
                "one": await history(url, *span, pairs="ETH-USD", **trades_and_quotes),
                "future": await history(url, sent[-1] + 1, sent[-1] + 10**9, **trades_and_quotes),
                "nothing": await history(url, span[0], span[0], **trades_and_quotes),
            }
        return got, asked, span

    got, asked, (from_us, to_us) = asyncio.run(scenario())
    truth = truth_of(path)
    assert len(got) == 1_000
    assert [seen(event) for event in got] == [
        {name: value for name, value in row.items() if name != "sent_us"} for row in truth
    ]
    span = [
        event for event, row in zip(got, truth, strict=True) if from_us <= row["sent_us"] < to_us
    ]
    assert len(span) > 50
    assert asked == {
        "all": got,
        "span": span,
        "trades": [event for event in span if event["ev"] == "XT"],
        "one": [event for event in span if event["pair"] == "ETH-USD"],
        "future": [],
        "nothing": [],
    }


def test_history_of_a_silence_is_what_happened_in_it() -> None:
    async def scenario() -> tuple[list[Event], list[Event]]:
        quiet = (Silence(for_s=0.2, at_s=0.1),)
        async with (
            exchange(**LIMITED, silences=quiet, first_id=1) as (running, url),
            subscribed(url, "XT.*,XQ.*") as socket,
        ):
            got = list(events(await frames_of_all(running, socket)))
            return got, await history(url, 0, 2**62, events="XT,XQ")

    got, whole = asyncio.run(scenario())
    assert len(got) == 600
    assert len(whole) == 1_000
    known = {json.dumps(event) for event in whole}
    assert all(json.dumps(event) in known for event in got)


@pytest.mark.parametrize(
    "query", ["", "from_us=1", "from_us=x&to_us=2", "from_us=1&to_us=2&pairs=NO-PAIR"]
)
def test_a_question_that_makes_no_sense_is_a_bad_request(query: str) -> None:
    async def scenario() -> None:
        async with exchange() as (_, url):
            with pytest.raises(urllib.error.HTTPError, match="400"):
                await fetched(url.replace("/crypto", f"/v1/history?{query}"))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (HistoryLimits(answer_bytes=1_000), "413"),
        (HistoryLimits(states=2), "416"),
        (HistoryLimits(ticks=5), "416"),
        (HistoryLimits(bars=1), "416"),
    ],
)
def test_a_span_that_is_too_long_or_too_old_is_refused(limits: HistoryLimits, code: str) -> None:
    options = {**LIMITED, "seconds_bars": True, "events": 2_100, "base_us": BASE_US}

    async def scenario() -> None:
        async with (
            exchange(**options, limits=limits) as (running, url),
            subscribed(url, "XT.*") as socket,
        ):
            await frames_of_all(running, socket)
            with pytest.raises(urllib.error.HTTPError, match=code):
                await history(url, 0, 2**62)

    asyncio.run(scenario())


def bars_of(trades: list[Event], interval_ms: int) -> dict[tuple[str, int], Event]:
    """Return bars by (pair, start) of trades in the order sent, as the venue defines them."""
    buckets = defaultdict(list)
    for trade in trades:
        buckets[trade["pair"], trade["t"] // interval_ms * interval_ms].append(trade)
    return {
        key: {
            "o": found[0]["p"],
            "h": max(each["p"] for each in found),
            "l": min(each["p"] for each in found),
            "c": found[-1]["p"],
            "v": pytest.approx(sum(each["s"] for each in found), rel=1e-10),
            "vw": pytest.approx(
                sum(each["p"] * each["s"] for each in found) / sum(each["s"] for each in found),
                rel=1e-8,
            ),
            "z": pytest.approx(sum(each["s"] for each in found) / len(found), rel=1e-6),
            "s": key[1],
            "e": key[1] + interval_ms,
        }
        for key, found in buckets.items()
    }


@pytest.mark.parametrize(
    ("event", "interval_ms", "base_us"),
    [("XAS", 1_000, BASE_US + 600_000), ("XA", 60_000, BASE_US // 60_000_000 * 60_000_000 - 10**6)],
)
def test_bars_are_those_of_the_trades(event: str, interval_ms: int, base_us: int) -> None:
    async def scenario() -> tuple[list[Event], list[Event]]:
        options = {**LIMITED, "events": 3_200, "base_us": base_us, "tickers": 3}
        async with (
            exchange(**options, seconds_bars=True) as (running, url),
            subscribed(url, *EVERYTHING) as socket,
        ):
            got = list(events(await frames_of_all(running, socket)))
            return got, await history(url, 0, 2**62, events="XA,XAS")

    got, asked = asyncio.run(scenario())
    assert asked == [each for each in got if each["ev"] in ("XA", "XAS")]
    bars = {
        (bar["pair"], bar["s"]): {k: v for k, v in bar.items() if k not in ("ev", "pair")}
        for bar in got
        if bar["ev"] == event
    }
    wanted = bars_of([each for each in got if each["ev"] == "XT"], interval_ms)
    assert len(bars) >= 3
    assert bars == {key: wanted[key] for key in bars}
    assert sum(each["ev"] == event for each in got) == len(bars)
