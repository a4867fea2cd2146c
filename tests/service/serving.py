"""A service as it is served, over a Valkey of the tests, and what speaks to it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
from redis import Redis
from websockets.sync.client import ClientConnection, connect

from feature_repo.trading.costs import Costs
from infra.servers import ports
from infra.servers.process import wait_until
from lake.clock import SystemClock
from serving.broker.given_costs import COSTS
from serving.risk.kill_switch import KillSwitch
from serving.risk.limits import RiskLimits
from serving.search.search import Search
from serving.service.api_keys import KeyBook
from serving.service.app import app_of
from serving.service.limits import Limits
from serving.service.paper import paper_desk
from serving.service.parts import Given, Parts
from serving.service.ports import Prediction
from serving.service.server import server_of
from serving.service.write_audit import WriteAudit
from serving.streams import keys
from serving.streams.connect import connected

CLOCK = SystemClock()
SHARDS = itertools.count(700)
VENUE = {"exchange": "coinbase", "market": "spot"}
WAIT_S_MAX = 60.0
"""How long anything is waited for that comes at once where the machine has nothing else to do."""


def until(holds: Callable[[], object]) -> bool:
    """Wait until something holds; return whether it came to."""
    return wait_until(CLOCK, lambda: bool(holds()), WAIT_S_MAX)


class Predictor:
    """Says the same of every instrument that it was told of."""

    def predict(self, instrument: Any, *, explain: bool) -> Prediction | None:
        if instrument.ticker != "X:BTCUSD":
            return None
        now_us = CLOCK.now_us()
        parts = {"return_1": 0.0008, "rsi_14": -0.0003} if explain else {}
        said = (0.0012, 0.71, "direction", "3", "champion", now_us, now_us)
        return Prediction(instrument, *said, "p-1", "", 0.0007, parts)

    def signals(self, limit: int) -> list[Prediction]:
        return []


class Watch:
    """What stands beside, as a test says it."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def alerts(self) -> list[dict[str, Any]]:
        return self.rows

    def freshness(self) -> list[dict[str, Any]]:
        return [{"dataset": "crypto_trades", "age_s": 1.5, "promise_s": 60.0}]


@dataclass
class Served:
    """A service that runs. shard: of its updates."""

    parts: Parts
    url: str
    client: Redis
    shard: int
    words: dict[str, str]
    end: Callable[[], None]
    frames: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def stop(self) -> None:
        """End it before its time; a second call does nothing."""
        self.end()

    def http(self, role: str = "") -> httpx.Client:
        """Return a client that calls as a role, "" without a key."""
        headers = {"Authorization": f"Bearer {self.words[role]}"} if role else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=WAIT_S_MAX)

    def stream(self, **more: Any) -> ClientConnection:
        """Return a WebSocket."""
        return connect(self.url.replace("http", "ws") + "/v1/stream", **more)

    def tell(self, *prices: tuple[str, str], **more: Any) -> None:
        """Tell of trades (ticker, price), and a quote around each, as a worker does.

        Each is a frame of its own, and durable.
        """
        now_us = CLOCK.now_us()
        trades, quotes = [], []
        for ticker, price in prices:
            row = {"ticker": ticker, **VENUE, "t": now_us, "s": now_us}
            trades.append({**row, "price": price, "size": "0.5"})
            bid, ask = f"{float(price) - 0.5:.2f}", f"{float(price) + 0.5:.2f}"
            sizes = {"bid_size": "3", "ask_size": "2"}
            quotes.append({**row, "bid_price": bid, "ask_price": ask, **sizes})
        empty: dict[str, Any] = {name: [] for name in ("bars", "gone", "features")}
        frame = next(self.frames)
        update = {
            "received_us": now_us,
            "dropped": 0,
            "shard": self.shard,
            "frames": [[1, frame]],
            "prices": trades,
            "quotes": quotes,
            **empty,
        }
        self.client.hset(keys.starts(self.shard), "1", 1)
        self.client.xadd(keys.durable(self.shard), {"start": 1}, id=f"1-{frame}", maxlen=64)
        self.client.sadd(keys.SHARDS, self.shard)
        self.client.xadd(keys.updates(self.shard), {"u": orjson.dumps({**update, **more})})

    def tell_fresh(self, ticker: str, price: str) -> dict[str, Any]:
        """Tell of a price until the service shows it, and as a fresh one; return what it shows."""
        found: dict[str, Any] = {}

        def is_fresh() -> bool:
            self.tell((ticker, price))
            rows = http.get(f"/v1/prices/{ticker}").json().get("prices", ())
            found.update(next((r for r in rows if float(r["price"]) == float(price)), {}))
            return bool(found.get("is_fresh"))

        with self.http() as http:
            assert until(is_fresh)
        return found


@contextmanager
def served(
    url: str,
    home: Path,
    *,
    limits: Limits | None = None,
    risk: RiskLimits | None = None,
    port: int | None = None,
    dsn: str = "",
    predictor: Any = None,
    costs: Costs = COSTS,
) -> Iterator[Served]:
    """Run a service.

    dsn: of its orders on paper; without one no watch and search, and no predictor but a given one.
    """
    client = connected(url, wait_s=WAIT_S_MAX)
    book = KeyBook(home, CLOCK)
    words = {role: book.add(f"a {role}er", role)[1] for role in ("read", "trade", "admin")}  # type: ignore[arg-type]
    audit = WriteAudit(home, CLOCK)
    kill = KillSwitch(home / "run" / "killed.json", client, CLOCK)
    parts = Parts(CLOCK, book, audit, kill, client, url, limits or Limits())
    stack = ExitStack()
    if dsn:
        limits_of = risk or RiskLimits(duplicate_us=None)
        desk, orders = stack.enter_context(paper_desk(dsn, parts, limits_of, costs))
        parts.given = Given(
            desk, orders, predictor or Predictor(), None, Watch(), Search(None, CLOCK)
        )
        assert until(lambda: desk.leads)
    elif predictor is not None:
        parts.given = Given(predictor=predictor)
    taken = port or ports.choose(None)
    server = server_of(app_of(parts), "127.0.0.1", taken)
    thread = threading.Thread(target=server.run)
    thread.start()

    def end() -> None:
        server.should_exit = True
        thread.join(WAIT_S_MAX)
        stack.close()

    address = f"http://127.0.0.1:{taken}"

    def is_up() -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{address}/v1/health").status_code == 200
        return False

    try:
        assert until(is_up)
        yield Served(parts, address, client, next(SHARDS), words, end)
    finally:
        end()
        audit.close()
        client.delete(keys.KILLED)
        client.close()
