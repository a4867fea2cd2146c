"""The orders' ledger: durable commands/s from many threads, verify, and tables of any moment.

    python benchmarks/ledger.py [--events N] [--commands N] [--threads N] [--json]

Runs a PostgreSQL of its own in a folder of its own, with fsync. Commands come from threads that
wait for each answer, as strategies do; then the ledger is filled up to N events, anchored, verified
and made into tables.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import psycopg

from feature_repo.ledger.anchor import make_anchor
from feature_repo.ledger.commands import Change, Command, Place
from feature_repo.ledger.group_commit import GroupCommit
from feature_repo.ledger.projection import project
from feature_repo.ledger.replay import replay
from feature_repo.ledger.second_place import LockedFolder
from feature_repo.ledger.verify import verify
from feature_repo.ledger.writer import COMMANDS_MAX, Writer
from feature_repo.trading.market import Instrument
from feature_repo.trading.money import UNIT
from feature_repo.trading.order import Order
from infra.servers.postgres_server import PostgresServer
from lake.audit.signing import signer_at
from lake.clock import SystemClock
from lake.hot.arrange import prepare

ORIGIN = {"ticks": "3:1001-1044", "features": "42", "model": "trees/7", "code": "488d3da"}
TICKERS = 20
PASSWORD = "only-for-benchmarks"


def life(name: str, number: int) -> list[Command]:
    """Return an order's commands: created, accepted, filled in two."""
    instrument = Instrument(f"X:T{number % TICKERS}USD", "sim", "spot")
    side = "buy" if number % 3 else "sell"
    price = (100 + number % 50) * UNIT
    order = Order(instrument, side, 3 * UNIT, "limit", price, client_id=name)
    at = time.time_ns() // 1_000
    fee = UNIT // 100
    return [
        Place("bench", order, at, ORIGIN),
        Change("bench", name, "accepted", "ok", at),
        Change("bench", name, "filled", "f1", at, price, UNIT, fee, "taker"),
        Change("bench", name, "filled", "f2", at, price + 1, 2 * UNIT, fee, "maker"),
    ]


def from_threads(dsn: str, commands: int, threads: int) -> dict[str, float]:
    """Give commands from threads that wait for each; return rate and latencies."""
    together = GroupCommit(dsn, SystemClock())
    waited: list[float] = []

    def trade(number: int) -> None:
        for command in life(f"t{number}", number):
            began = time.perf_counter()
            assert together.submit(command).result(60).is_new
            waited.append(time.perf_counter() - began)

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(trade, range(commands // 4)))
    took = time.perf_counter() - began
    together.close()
    cuts = statistics.quantiles(waited, n=100)
    return {
        "threads": threads,
        "commands_per_s": len(waited) / took,
        "p50_ms": 1000 * cuts[49],
        "p99_ms": 1000 * cuts[98],
    }


def fill_up(dsn: str, events: int) -> float:
    """Add events in whole batches; return commands/s."""
    writer = Writer(dsn, SystemClock())
    given: Iterator[Command] = (
        command for number in range(events // 4) for command in life(f"b{number}", number)
    )
    began = time.perf_counter()
    while batch := list(islice(given, COMMANDS_MAX)):
        assert all(each.is_new for each in writer.commit(batch))
    writer.close()
    return events / (time.perf_counter() - began)


def timed(dsn: str, folder: Path) -> dict[str, float]:
    """Return the seconds of what is done with a full ledger."""
    clock = SystemClock()
    place, signer = LockedFolder(folder / "second"), signer_at(folder / "key.pem")
    found: dict[str, float] = {}
    began = time.perf_counter()
    make_anchor(dsn, place, signer, clock)
    found["anchor_s"] = time.perf_counter() - began
    began = time.perf_counter()
    verified = verify(dsn, place, signer.public)
    took = time.perf_counter() - began
    assert not verified.faults, verified.faults
    found |= {"verify_s": took, "verify_events_per_s": verified.events / took}
    began = time.perf_counter()
    replayed = replay(dsn, clock.now_us())
    took = time.perf_counter() - began
    found |= {"replay_s": took, "replay_events": replayed.events}
    began = time.perf_counter()
    project(dsn, clock)
    found["project_s"] = time.perf_counter() - began
    return found


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="of both chains")
    parser.add_argument("--commands", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=32)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ledger-") as name:
        folder = Path(name).resolve()
        (folder / "log").mkdir()
        server = PostgresServer(folder, SystemClock())
        try:
            master = server.up(None, PASSWORD)
            dsn = f"postgresql://ticklake:{PASSWORD}@127.0.0.1:{master.port}/ticklake"
            with psycopg.connect(dsn) as connection:
                prepare(connection)
            found = from_threads(dsn, asked.commands, asked.threads)
            # an order is four events, and two of positions
            left = max(asked.events - asked.commands * 3 // 2, 0)
            found["batched_per_s"] = fill_up(dsn, left * 2 // 3 // 4 * 4)
            found |= timed(dsn, folder)
        finally:
            server.down()
    if asked.json:
        print(json.dumps(found))
        return
    for key, value in found.items():
        print(f"{key:20} {value:14,.1f}")


if __name__ == "__main__":
    main()
