"""The desk: from an order that is asked for to its durable event, one caller, then many.

    python benchmarks/desk.py [--orders N] [--threads N] [--json]

Runs a PostgreSQL of its own in a folder of its own, with fsync. The price's frames are durable
already: waiting for them is the journal's time, not the desk's. Limit orders rest, the desk's own
thread works beside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg

from feature_repo.trading.costs import Costs
from feature_repo.trading.market import Instrument, Quote, Trade
from feature_repo.trading.money import UNIT
from feature_repo.trading.order import Order
from infra.servers.postgres_server import PostgresServer
from lake.clock import SystemClock
from lake.hot.arrange import prepare
from serving.desk.desk import LedgerDesk
from serving.desk.lead import DeskParts, DeskRules
from serving.desk.market import Rest, Told
from serving.desk.venue import PaperVenue
from serving.risk.limits import RiskLimits
from serving.streams.durable_watch import Answer
from serving.streams.keys import Place

ACCOUNT = "bench"
BTC = Instrument("X:BTCUSD", "sim", "spot")
REST = Rest(0, (Place(1, 1),))
PASSWORD = "only-for-benchmarks"
CLOCK = SystemClock()
MOVES_US = 200_000


class Market:
    """A price of 100, new each MOVES_US, on frames that are durable."""

    def told(self, instrument: Instrument) -> Told:
        """Return it."""
        now_us = CLOCK.now_us() // MOVES_US * MOVES_US
        quote = Quote(instrument, now_us, now_us, 99 * UNIT, UNIT, 101 * UNIT, UNIT)
        return Told(Trade(instrument, now_us, now_us, 100 * UNIT, UNIT), REST, quote, REST)

    def about(self, rest: Rest | None, wait_ms: int = 0) -> Answer:
        """Say that all is durable."""
        return "durable"


def timed(desk: LedgerDesk, name: str, orders: int, threads: int) -> dict[str, float]:
    """Place orders from threads that wait for each answer; return rate and latencies."""
    waited: list[float] = []

    def ask(number: int) -> None:
        order = Order(BTC, "buy", UNIT, "limit", 98 * UNIT, client_id=f"{name}{number}")
        began = time.perf_counter()
        assert desk.place(ACCOUNT, order, "bench").is_new
        waited.append(time.perf_counter() - began)

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(ask, range(orders)))
    took = time.perf_counter() - began
    cuts = statistics.quantiles(waited, n=100)
    found = {"orders_per_s": orders / took, "p50_ms": 1e3 * cuts[49], "p99_ms": 1e3 * cuts[98]}
    return {f"{name}_{key}": value for key, value in found.items()}


def measured(dsn: str, orders: int, threads: int) -> dict[str, float]:
    """Run a desk and ask it."""
    market = Market()
    limits = RiskLimits(orders=None, duplicate_us=None)
    venue = PaperVenue(Costs(latency_us=5_000), market, market)
    parts = DeskParts(dsn, CLOCK, market, market, lambda: False, lambda: venue, "bench")
    desk = LedgerDesk(parts, DeskRules(ACCOUNT, 10**9 * UNIT, limits))
    thread = threading.Thread(target=desk.run)
    thread.start()
    try:
        while not desk.leads:
            time.sleep(0.01)
        return timed(desk, "one", orders, 1) | timed(desk, "many", orders, threads)
    finally:
        desk.ended.set()
        thread.join()


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=2_000, help="by one caller, and by many")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="desk-") as name:
        folder = Path(name).resolve()
        (folder / "log").mkdir()
        server = PostgresServer(folder, CLOCK)
        try:
            master = server.up(None, PASSWORD)
            dsn = f"postgresql://ticklake:{PASSWORD}@127.0.0.1:{master.port}/ticklake"
            with psycopg.connect(dsn) as connection:
                prepare(connection)
            found = measured(dsn, asked.orders, asked.threads)
        finally:
            server.down()
    if asked.json:
        print(json.dumps(found))
        return
    for key, value in found.items():
        print(f"{key:20} {value:14,.1f}")


if __name__ == "__main__":
    main()
