"""Which socket a live feed reads, how it is talked to, and what it claims."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlencode, urlsplit, urlunsplit

from lake.errors import WrongUse
from lake.feeds.dialect import (
    BinanceDialect,
    CoinbaseDialect,
    Dialect,
    KrakenDialect,
    MassiveDialect,
)
from lake.feeds.instrument import venue_symbols, warehouse_ticker
from lake.ingest.history_to_journal import History
from lake.ingest.request import IngestRequest
from lake.settings import Settings

COINBASE_URL = "wss://ws-feed.exchange.coinbase.com"
KRAKEN_URL = "wss://ws.kraken.com/v2"
BINANCE_URL = "wss://stream.binance.com:9443"
SIM_KEY = "sim"
HISTORY_S_MAX = 10.0
HISTORY_BYTES_MAX = 256 << 20


@dataclass(frozen=True, slots=True)
class Venue:
    """A live feed: feed names the codec; claims are FEED|TICKER; history may be missing."""

    feed: str
    url: str
    dialect: Callable[[], Dialect]
    claims: list[str]
    history: History | None = None


def venue_for(feed: str, request: IngestRequest, settings: Settings) -> Venue:
    """Return the venue of a live feed; raises WrongUse for what it needs and has not."""
    if request.url is not None and not _is_address(request.url):
        raise WrongUse(f"--url {request.url}", "is no WebSocket address", "ws://HOST:PORT/PATH")
    symbols = venue_symbols(feed, request.tickers)
    codec = "binance.spot" if feed == "binance" else feed
    claims = [f"{codec}|{warehouse_ticker(ticker)}" for ticker in request.tickers]
    claims = claims or [f"{codec}|*"]
    if feed in ("massive", "sim"):
        return _massive(feed, request, settings, symbols, claims)
    if not symbols:
        raise WrongUse(f"feed {feed}", "needs --tickers", "for instance --tickers BTC-USD")
    if feed == "coinbase":
        dialect: Callable[[], Dialect] = partial(CoinbaseDialect, symbols)
        return Venue(codec, request.url or COINBASE_URL, dialect, claims)
    if feed == "kraken":
        return Venue(codec, request.url or KRAKEN_URL, partial(KrakenDialect, symbols), claims)
    streams = "/".join(f"{symbol}@{kind}" for symbol in symbols for kind in ("trade", "bookTicker"))
    url = f"{(request.url or BINANCE_URL).rstrip('/')}/stream?streams={streams}"
    return Venue(codec, url, BinanceDialect, claims)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _massive(
    feed: str, request: IngestRequest, settings: Settings, symbols: list[str], claims: list[str]
) -> Venue:
    silence_s_max = settings.silence_ms_max / 1e3
    if feed == "sim":
        url = request.url or _sim_url(settings.home)
        key = settings.massive_api_key or SIM_KEY
        dialect = partial(MassiveDialect, symbols, key, silence_s_max)
        return Venue(feed, url, dialect, claims, sim_history(url))
    if not (request.url or settings.massive_api_key):
        raise WrongUse("feed massive", "needs a key", "set TICKLAKE_MASSIVE_API_KEY")
    url = request.url or settings.massive_url
    dialect = partial(MassiveDialect, symbols, settings.massive_api_key, silence_s_max)
    return Venue(feed, url, dialect, claims)


def _sim_url(home: Path) -> str:
    path = home / "run" / "sim.json"
    try:
        return str(json.loads(path.read_text())["url"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WrongUse(
            "feed sim", "no simulated exchange runs in this home", "start `ticklake sim`, or --url"
        ) from error


def sim_history(url: str) -> History:
    """Return the simulated exchange's history: the frames that it sent between two times."""
    parts = urlsplit(url)

    def fetch(from_us: int, to_us: int) -> list[bytes]:
        query = urlencode({"from_us": from_us, "to_us": to_us, "events": "XT,XA,XAS"})
        address = urlunsplit(("http", parts.netloc, "/v1/history", query, ""))
        try:
            with urllib.request.urlopen(address, timeout=HISTORY_S_MAX) as answer:
                body = answer.read(HISTORY_BYTES_MAX)
        except urllib.error.HTTPError as error:
            raise OSError(f"{address}: {error.code} {error.reason}") from error
        return [frame for frame in body.split(b"\n") if frame]

    async def history(from_us: int, to_us: int) -> list[bytes]:
        return await asyncio.to_thread(fetch, from_us, to_us)

    return history
