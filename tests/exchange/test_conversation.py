"""The simulated exchange speaks Massive's protocol."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from infra.exchange.listener import POLICY_VIOLATION
from infra.exchange.options import ExchangeOptions
from lake.errors import WrongUse
from tests.exchange.listening import (
    ANSWER_S_MAX,
    Event,
    answers,
    events_until,
    exchange,
    frames_for,
    greeted,
    say,
    statuses,
    subscribed,
)

MANY = 100


def kinds(found: list[Event]) -> set[tuple[str, str]]:
    return {(each["ev"], each["pair"]) for each in found}


def many_with(wanted: set[tuple[str, str]]) -> Callable[[list[Event]], bool]:
    """Return what tells whether there are many events, of each of these kinds at least one."""
    return lambda found: len(found) > MANY and kinds(found) >= wanted


def test_each_topic_is_confirmed_and_then_only_it_comes() -> None:
    async def scenario() -> None:
        async with exchange(rate=500) as (_, url), subscribed(url, "XT.BTC-USD", "XQ.ETH-USD") as s:
            confirmed = [event["message"] for event in await answers(s, 2)]
            assert confirmed == ["subscribed to: XT.BTC-USD", "subscribed to: XQ.ETH-USD"]
            wanted = {("XT", "BTC-USD"), ("XQ", "ETH-USD")}
            assert kinds(await events_until(s, many_with(wanted))) == wanted

    asyncio.run(scenario())


def test_a_star_is_every_pair() -> None:
    async def scenario() -> None:
        async with (
            exchange(rate=500, tickers=3, skew=0.4) as (_, url),
            subscribed(url, "XT.*") as s,
        ):
            wanted = {("XT", "BTC-USD"), ("XT", "ETH-USD"), ("XT", "SIM003-USD")}
            assert kinds(await events_until(s, many_with(wanted))) == wanted

    asyncio.run(scenario())


def test_nothing_comes_before_a_subscription_and_nothing_after_its_end() -> None:
    async def scenario() -> None:
        async with exchange(rate=500) as (_, url), greeted(url) as s:
            await say(s, "auth", "any")
            assert await statuses(s, 1) == ["auth_success"]
            assert await frames_for(s, 0.1) == []
            await say(s, "subscribe", "XT.*,XQ.*")
            assert await events_until(s, len)
            await say(s, "unsubscribe", "XT.*,XQ.*")
            ended = [event["message"] for event in await answers(s, 2)]
            assert ended == ["unsubscribed to: XT.*", "unsubscribed to: XQ.*"]
            assert await frames_for(s, 0.1) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("topic", ["XT.DOGE-EUR", "XL2.BTC-USD", "nonsense"])
def test_an_unknown_topic_is_an_error_and_the_others_are_served(topic: str) -> None:
    async def scenario() -> None:
        async with exchange(rate=500) as (_, url), subscribed(url, topic, "XT.BTC-USD") as s:
            assert await statuses(s, 2) == ["error", "success"]
            assert await events_until(s, len)

    asyncio.run(scenario())


@pytest.mark.parametrize("message", ["not json", "{}", "[]", '{"action":"dance","params":""}'])
def test_an_unknown_action_is_an_error_and_the_conversation_goes_on(message: str) -> None:
    async def scenario() -> None:
        async with exchange() as (_, url), subscribed(url, "XT.BTC-USD") as s:
            await s.send(message)
            assert await statuses(s, 2) == ["success", "error"]

    asyncio.run(scenario())


@pytest.mark.parametrize("key", ["wrong", ""])
def test_a_wrong_key_fails_and_the_connection_ends(key: str) -> None:
    async def scenario() -> None:
        async with exchange(key="right") as (_, url), greeted(url) as s:
            await say(s, "auth", key)
            assert await statuses(s, 1) == ["auth_failed"]
            with pytest.raises(ConnectionClosed):
                await s.recv()

    asyncio.run(scenario())


def test_the_right_key_passes() -> None:
    async def scenario() -> None:
        async with (
            exchange(key="right") as (_, url),
            subscribed(url, "XT.BTC-USD", key="right") as s,
        ):
            assert await statuses(s, 1) == ["success"]

    asyncio.run(scenario())


def test_who_does_not_authenticate_in_time_is_told_and_left() -> None:
    async def scenario() -> None:
        async with exchange(auth_timeout_s=0.1) as (_, url), greeted(url) as s:
            assert await statuses(s, 1) == ["auth_timeout"]
            with pytest.raises(ConnectionClosed):
                await s.recv()

    asyncio.run(scenario())


def test_one_connection_too_many_is_told_after_its_login_and_closed() -> None:
    async def scenario() -> None:
        async with exchange(max_connections=1) as (_, url):
            async with subscribed(url, "XT.*") as first, greeted(url) as second:
                assert await statuses(first, 1) == ["success"]
                await say(second, "auth", "any")
                assert await statuses(second, 2) == ["auth_success", "max_connections"]
                with pytest.raises(ConnectionClosed) as closed:
                    await second.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == POLICY_VIOLATION
            async with subscribed(url, "XT.*") as third:
                assert await statuses(third, 1) == ["success"]

    asyncio.run(scenario())


def test_two_logins_at_once_do_not_both_take_the_last_place() -> None:
    async def scenario() -> None:
        async with (
            exchange(max_connections=1) as (_, url),
            greeted(url) as first,
            greeted(url) as second,
        ):
            for each in (first, second):
                await say(each, "auth", "any")
            assert await statuses(first, 1) == ["auth_success"]
            assert await statuses(second, 2) == ["auth_success", "max_connections"]

    asyncio.run(scenario())


def test_a_slow_start_delays_the_greeting() -> None:
    async def scenario() -> None:
        async with (
            exchange(slow_start_s=2.0) as (_, url),
            connect(url, compression=None, proxy=None) as s,
        ):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(s.recv(), 0.2)
            assert await statuses(s, 1) == ["connected"]

    asyncio.run(scenario())


def test_status_is_told_over_http_and_other_paths_are_not_found() -> None:
    async def scenario() -> None:
        async with exchange(rate=500) as (_, url), subscribed(url, "XT.*") as s:
            await events_until(s, len)
            told = json.loads(await fetched(url.replace("/crypto", "/v1/status")))
            assert told["events_sent"] > 0
            assert told["connections"] == 1
            with pytest.raises(urllib.error.HTTPError, match="404"):
                await fetched(url.replace("/crypto", "/stocks"))

    asyncio.run(scenario())


async def fetched(url: str) -> bytes:
    def fetch() -> bytes:
        with urllib.request.urlopen(
            url.replace("ws://", "http://"), timeout=ANSWER_S_MAX
        ) as answer:
            return bytes(answer.read())

    return await asyncio.to_thread(fetch)


@pytest.mark.parametrize(
    "wrong",
    [{"rate": 0}, {"tickers": 0}, {"poison": 1.5}, {"skew": -0.1}, {"poison_kinds": ("typhoon",)}],
)
def test_options_out_of_bounds_are_wrong_use(wrong: dict[str, object]) -> None:
    with pytest.raises(WrongUse):
        ExchangeOptions(**wrong)  # type: ignore[arg-type]
