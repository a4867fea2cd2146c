"""Massive's own client, unchanged, works against the simulated exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from massive import WebSocketClient
from massive.exceptions import AuthError
from massive.websocket.models import CryptoQuote, CryptoTrade, CurrencyAgg, Market
from websockets.asyncio.client import ClientConnection

from tests.exchange.listening import BASE_US, Event, events, exchange, subscribed

ENOUGH_S_MAX = 60.0


def client_of(url: str, *topics: str, key: str = "any", **more: Any) -> WebSocketClient:
    return WebSocketClient(
        api_key=key,
        feed=urlsplit(url).netloc,
        market=Market.Crypto,
        secure=False,
        subscriptions=list(topics),
        **more,
    )


async def heard(client: WebSocketClient, enough: Callable[[list[Any]], bool]) -> list[Any]:
    """Run the client until it has heard enough; return its messages."""
    messages: list[Any] = []

    async def hear(batch: list[Any]) -> None:
        messages.extend(batch)
        if enough(messages):
            await client.close()

    await asyncio.wait_for(client.connect(hear, proxy=None), ENOUGH_S_MAX)
    return messages


def test_it_authenticates_subscribes_and_parses_every_kind() -> None:
    kinds = (CryptoTrade, CryptoQuote, CurrencyAgg)

    def enough(messages: list[Any]) -> bool:
        return all(any(isinstance(each, kind) for each in messages) for kind in kinds)

    async def scenario() -> list[Any]:
        async with exchange(rate=500, key="right", seconds_bars=True) as (_, url):
            topics = ("XT.BTC-USD", "XQ.BTC-USD", "XAS.*")
            return await heard(client_of(url, *topics, key="right"), enough)

    for message in asyncio.run(scenario()):
        assert isinstance(message, kinds)
        assert None not in (getattr(message, name) for name in vars(message))


def test_it_reads_the_same_as_any_other_client() -> None:
    wanted = 300

    def as_told(event: Event) -> tuple[Any, ...]:
        return tuple(event[name] for name in ("pair", "x", "i", "p", "s", "t"))

    def as_parsed(each: CryptoTrade) -> tuple[Any, ...]:
        return each.pair, each.exchange, each.id, each.price, each.size, each.timestamp

    async def scenario() -> tuple[list[Any], list[Event]]:
        plain: list[Event] = []
        known: set[tuple[Any, ...]] = set()

        async def listen(socket: ClientConnection) -> None:
            while True:
                new = list(events([await socket.recv(decode=False)]))
                plain.extend(new)
                known.update(map(as_told, new))

        options = {"rate": 2_000, "base_us": BASE_US}
        async with exchange(**options) as (_, url), subscribed(url, "XT.*") as socket:
            listening = asyncio.create_task(listen(socket))
            found = await heard(client_of(url, "XT.*"), lambda heard: len(heard) >= wanted)
            async with asyncio.timeout(ENOUGH_S_MAX):
                while not known >= {as_parsed(each) for each in found}:
                    await asyncio.sleep(0.01)
            listening.cancel()
            return found, plain

    found, plain = asyncio.run(scenario())
    conditions = {as_told(each): each["c"] for each in plain}
    for trade in found:
        assert conditions[as_parsed(trade)] == trade.conditions


def test_it_hears_that_its_key_is_wrong() -> None:
    async def scenario() -> None:
        async with exchange(key="right") as (_, url):
            await heard(client_of(url, "XT.*", key="wrong"), lambda messages: False)

    with pytest.raises(AuthError, match="authentication failed"):
        asyncio.run(scenario())


def test_it_comes_back_after_a_cut() -> None:
    async def scenario() -> list[Any]:
        async with exchange(rate=500, cut_every_s=0.3, seed=3) as (_, url):
            client = client_of(url, "XT.*", max_reconnects=20)
            connections: set[Any] = set()

            def enough(messages: list[Any]) -> bool:
                connections.add(client.websocket)
                return len(connections) >= 3 and len(messages) > 50

            return await heard(client, enough)

    assert asyncio.run(scenario())


def test_it_can_unsubscribe() -> None:
    async def scenario() -> list[str]:
        async with exchange(rate=500) as (_, url):
            client = client_of(url, "XT.BTC-USD", "XT.ETH-USD")
            pairs: list[str] = []
            asked = False

            async def hear(batch: list[Any]) -> None:
                nonlocal asked
                pairs.extend(each.pair for each in batch)
                if not asked and "BTC-USD" in pairs:
                    client.unsubscribe("XT.BTC-USD")
                    asked = True
                if asked and pairs[-20:].count("ETH-USD") == 20:
                    await client.close()

            await asyncio.wait_for(client.connect(hear, proxy=None), ENOUGH_S_MAX)
            return pairs

    assert "BTC-USD" in asyncio.run(scenario())
