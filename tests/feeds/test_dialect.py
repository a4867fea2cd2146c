"""Conversations with venues: what is said, until data may come or the venue says no."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lake.errors import WrongUse
from lake.feeds.dialect import (
    BinanceDialect,
    CoinbaseDialect,
    Dialect,
    KrakenDialect,
    MassiveDialect,
    Reply,
)
from lake.feeds.instrument import split_pair, venue_symbols, warehouse_ticker


def status(name: str, message: str = "") -> bytes:
    return json.dumps([{"ev": "status", "status": name, "message": message}]).encode()


def told(dialect: Dialect, *events: Any) -> Reply:
    """Return the reply to the last of the frames."""
    replies = [dialect.on_frame(json.dumps(event).encode()) for event in events]
    return replies[-1]


def test_massive_is_greeted_authenticated_subscribed_and_ready_when_all_is_confirmed() -> None:
    dialect = MassiveDialect(["BTC-USD"], "secret")
    assert dialect.opening() == []
    [order] = dialect.on_frame(status("connected")).send
    assert json.loads(order) == {"action": "auth", "params": "secret"}
    [order] = dialect.on_frame(status("auth_success")).send
    topics = ["XT.BTC-USD", "XQ.BTC-USD", "XA.BTC-USD"]
    assert json.loads(order) == {"action": "subscribe", "params": ",".join(topics)}
    states = [dialect.on_frame(status("success", topic)).state for topic in topics]
    assert states == ["pending", "pending", "ready"]


def test_massive_without_tickers_asks_for_all_of_them() -> None:
    [order] = MassiveDialect([], "k").on_frame(status("auth_success")).send
    assert json.loads(order)["params"] == "XT.*,XQ.*,XA.*"


@pytest.mark.parametrize(
    ("name", "state", "remedy"),
    [
        ("auth_failed", "refused", "check the key (TICKLAKE_MASSIVE_API_KEY)"),
        ("auth_timeout", "refused", "check the key (TICKLAKE_MASSIVE_API_KEY)"),
        ("error", "refused", "check --tickers"),
        ("max_connections", "busy", ""),
    ],
)
def test_massive_s_refusals_are_final_and_its_limit_is_not(
    name: str, state: str, remedy: str
) -> None:
    reply = MassiveDialect([], "k").on_frame(status(name, "the venue's words"))
    assert (reply.state, reply.message, reply.remedy) == (state, "the venue's words", remedy)


@pytest.mark.parametrize("frame", [b"", b"\xff", b"[1]", b"{}", b'[{"ev":"XT"}]', b"[null]"])
def test_frames_that_say_nothing_leave_every_conversation_open(frame: bytes) -> None:
    dialects: list[Dialect] = [
        MassiveDialect([], "k"),
        CoinbaseDialect(["A-B"]),
        KrakenDialect(["A/B"]),
    ]
    assert {dialect.on_frame(frame).state for dialect in dialects} == {"pending"}


def test_coinbase_is_ready_once_it_lists_the_subscriptions() -> None:
    dialect = CoinbaseDialect(["BTC-USD"])
    [order] = dialect.opening()
    assert json.loads(order) == {
        "type": "subscribe",
        "product_ids": ["BTC-USD"],
        "channels": ["matches", "ticker", "heartbeat"],
    }
    assert told(dialect, {"type": "last_match"}).data
    assert told(dialect, {"type": "subscriptions"}).state == "ready"


def test_coinbase_s_error_is_told_in_its_words() -> None:
    error = {"type": "error", "message": "Failed to subscribe", "reason": "X-Y is not valid"}
    reply = told(CoinbaseDialect(["X-Y"]), error)
    assert (reply.state, reply.message) == ("refused", "Failed to subscribe: X-Y is not valid")


def test_kraken_is_ready_when_each_channel_and_symbol_is_confirmed() -> None:
    dialect = KrakenDialect(["BTC/USD"])
    orders = [json.loads(order)["params"] for order in dialect.opening()]
    assert [order["channel"] for order in orders] == ["trade", "ticker"]
    assert {order["snapshot"] for order in orders} == {False}
    yes = {"method": "subscribe", "success": True, "result": {}}
    assert told(dialect, {"channel": "status"}, yes).state == "pending"
    assert told(dialect, yes).state == "ready"


def test_kraken_s_error_is_told_in_its_words() -> None:
    no = {"method": "subscribe", "success": False, "error": "Currency pair not supported X/Y"}
    reply = told(KrakenDialect(["X/Y"]), no)
    assert (reply.state, reply.message) == ("refused", "Currency pair not supported X/Y")


def test_binance_is_ready_at_its_answer_or_at_data() -> None:
    [question] = BinanceDialect().opening()
    assert json.loads(question)["method"] == "LIST_SUBSCRIPTIONS"
    answer = told(BinanceDialect(), {"result": ["btcusdt@trade"], "id": 1})
    assert (answer.state, answer.data) == ("ready", False)
    data = told(BinanceDialect(), {"stream": "btcusdt@trade", "data": {}})
    assert (data.state, data.data) == ("ready", True)
    assert told(BinanceDialect(), {"error": {"code": 2}, "id": 1}).state == "refused"


@pytest.mark.parametrize(
    "text", ["X:BTCUSD", "BTC-USD", "BTC/USD", "btcusd", " btc-usd ", "XBT/USD", "X:BTC-USD"]
)
def test_every_spelling_of_a_ticker_is_one_instrument(text: str) -> None:
    assert split_pair(text) == ("BTC", "USD")
    assert warehouse_ticker(text) == "X:BTCUSD"
    assert venue_symbols("massive", [text, text]) == ["BTC-USD"]
    assert venue_symbols("coinbase", [text]) == ["BTC-USD"]
    assert venue_symbols("kraken", [text]) == ["BTC/USD"]
    assert venue_symbols("binance", [text]) == ["btcusd"]


def test_longest_quote_currency_splits_and_short_names_are_names() -> None:
    assert split_pair("BTCUSDT") == ("BTC", "USDT")
    assert split_pair("ETHBTC") == ("ETH", "BTC")
    assert split_pair("TUSD") == ("T", "USD")
    assert split_pair("1INCH-USD") == ("1INCH", "USD")


@pytest.mark.parametrize(
    "text", ["", "X:", "BTC", "BTC-", "-USD", "../../x", "BTC;USD", "BTC USD", "B'C-USD", "ä-USD"]
)
def test_what_is_no_ticker_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(WrongUse, match="is not spelled like one: write X:BTCUSD"):
        split_pair(text)
