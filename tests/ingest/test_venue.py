"""Which socket a live feed reads and what it claims; what is missing is told in a sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lake.errors import WrongUse
from lake.ingest.request import IngestRequest
from lake.ingest.venue import Venue, venue_for
from lake.settings import Settings


def venue(feed: str, *tickers: str, url: str | None = None, home: Path | None = None) -> Venue:
    settings = replace(Settings(), massive_api_key="k", home=home or Settings().home)
    return venue_for(feed, IngestRequest((feed,), tickers, url=url), settings)


def test_massive_claims_every_ticker_unless_some_are_named() -> None:
    every = venue("massive")
    assert (every.feed, every.claims, every.history) == ("massive", ["massive|*"], None)
    assert every.url.startswith("wss://")
    assert venue("massive", "BTC-USD").claims == ["massive|X:BTCUSD"]


def test_massive_without_a_key_is_told_which_variable_to_set() -> None:
    with pytest.raises(WrongUse, match="set TICKLAKE_MASSIVE_API_KEY"):
        venue_for("massive", IngestRequest(("massive",)), Settings())


def test_public_venues_are_talked_to_about_the_tickers_named() -> None:
    coinbase = venue("coinbase", "X:BTCUSD")
    assert (coinbase.feed, coinbase.claims) == ("coinbase", ["coinbase|X:BTCUSD"])
    assert "BTC-USD" in coinbase.dialect().opening()[0]
    kraken = venue("kraken", "XBT/USD")
    assert kraken.claims == ["kraken|X:BTCUSD"]
    assert "BTC/USD" in kraken.dialect().opening()[0]


def test_binance_s_streams_stand_in_the_address() -> None:
    found = venue("binance", "BTC-USDT", url="ws://127.0.0.1:1")
    assert (found.feed, found.claims) == ("binance.spot", ["binance.spot|X:BTCUSDT"])
    assert found.url == "ws://127.0.0.1:1/stream?streams=btcusdt@trade/btcusdt@bookTicker"


@pytest.mark.parametrize("feed", ["coinbase", "kraken", "binance"])
def test_public_venue_without_tickers_is_refused(feed: str) -> None:
    with pytest.raises(WrongUse, match="needs --tickers"):
        venue(feed)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:1", "ftp://x", ""])
def test_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(WrongUse, match="is no WebSocket address"):
        venue("massive", url=url)


def test_simulated_exchange_is_found_in_the_home(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "sim.json").write_text(json.dumps({"url": "ws://127.0.0.1:7/crypto"}))
    found = venue("sim", home=tmp_path)
    assert (found.feed, found.url) == ("sim", "ws://127.0.0.1:7/crypto")
    assert found.history is not None


@pytest.mark.parametrize("contents", [None, "", "{}", "[]"])
def test_simulated_exchange_that_is_not_there_is_told_how_to_start(
    tmp_path: Path, contents: str | None
) -> None:
    (tmp_path / "run").mkdir()
    if contents is not None:
        (tmp_path / "run" / "sim.json").write_text(contents)
    with pytest.raises(WrongUse, match="start `ticklake sim`"):
        venue("sim", home=tmp_path)
