"""The live half's memory over a day of ticks, sped up, through a real Valkey.

    python benchmarks/day_of_ticks.py [--hours 24] [--rate 5000] [--tickers 100] [--holes]
        [--json]

A clock that is moved by hand makes a second of events last as long as they need: one process offers
a second's frames as an ingest does, another takes each event once, writes latest prices, closes
bars and makes features, tells of it and serves it as a worker of `live` does, and acknowledges. It
begins with windows that are full, as beside a lake. A scorer asks a LightGBM model of each minute,
and tells; a service shows all of it to a client of its WebSocket. Nothing is kept in PostgreSQL.
memory: of each process and of Valkey at the end of each hour, MiB; grown: the last hour's as a
share of the third's, by when caches are full (1: flat). --holes: no trade's id follows on another
of its pair, which is what fills memory most.
speed: how many seconds of the day pass in one. heard: messages that the client was sent.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing as mp
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from _day import PATIENCE_S, START_US  # noqa: E402
from _redis import measure_on_redis  # noqa: E402
from _seeds import seed_of  # noqa: E402
from speed_layer import frame  # noqa: E402

from feature_repo.feature_set import MARKET  # noqa: E402
from infra.servers import ports  # noqa: E402
from infra.servers.process import memory_bytes  # noqa: E402
from lake.bars.kernel import SECOND_US  # noqa: E402
from lake.clock import ManualClock, SystemClock  # noqa: E402
from lake.ingest.intake import Slice  # noqa: E402
from serving.live.live_features import INTERVALS  # noqa: E402
from serving.live.once import Once  # noqa: E402
from serving.live.online import Online  # noqa: E402
from serving.live.process import steady  # noqa: E402
from serving.live.told import Teller  # noqa: E402
from serving.live.worker import Worker  # noqa: E402
from serving.streams import reader  # noqa: E402
from serving.streams.connect import connected  # noqa: E402
from serving.streams.publisher import Publisher  # noqa: E402

HOUR_S = 3_600
FULL_H = 3
"""The hour by whose end windows and caches are full."""

SENT_S_MAX, POLL_S, AGAIN_S = 60.0, 0.000_5, 0.5
AHEAD_MAX = 4
"""Seconds that may wait for the worker."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--rate", type=int, default=5_000)
    parser.add_argument("--holes", action="store_true")
    measure_on_redis(parser, measured)


def measured(address: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run all sides; return the figures."""
    day = Day(address, options.tickers)
    port = ports.choose(None)
    service = started(loaded, "service", "serve", address, options.home, port)
    pids = {**day.pids, "service": service}
    heard = Listener(port, options.tickers)
    publisher = Publisher(address, 0, 1, 1, ManualClock(START_US))
    memory: list[dict[str, int]] = []
    began = time.monotonic()
    with connected(address) as client:
        for second in range(options.hours * HOUR_S):
            offer(publisher, second, options)
            is_hour = (second + 1) % HOUR_S == 0
            day.tell(second, 0 if is_hour else AHEAD_MAX)
            if is_hour:
                used = int(client.info("memory")["used_memory"])
                held = {name: memory_bytes(pid) for name, pid in pids.items()} | {"valkey": used}
                memory.append({name: each >> 20 for name, each in held.items()})
                print(f"hour {len(memory)}: {memory[-1]} MiB", file=sys.stderr, flush=True)
    passed_s = time.monotonic() - began
    counted = day.end()
    publisher.close()
    full = memory[min(FULL_H, len(memory)) - 1]
    return {
        "offered": options.hours * HOUR_S * options.rate,
        "dropped": sum(publisher.queue.dropped.values()),
        **counted,
        "heard": heard.messages,
        "speed": round(options.hours * HOUR_S / passed_s, 1),
        **{f"{name}_mib": [each[name] for each in memory] for name in full},
        "grown": {name: round(memory[-1][name] / full[name], 3) for name in full},
    }


class Day:
    """The processes whose clock is moved by hand."""

    def __init__(self, address: str, tickers: int) -> None:
        self.pids: dict[str, int] = {}
        self._pipes: list[Connection] = []
        self._waiting = 0
        jobs: dict[str, tuple[Any, ...]] = {
            "worker": (work,),
            "scorer": (loaded, "_day_scorer", "score"),
        }
        for name, job in jobs.items():
            ours, theirs = mp.get_context("spawn").Pipe()
            self.pids[name] = started(*job, address, tickers, theirs)
            assert ours.recv() == "ready"
            self._pipes.append(ours)

    def tell(self, second: int, ahead: int) -> None:
        """Tell of a second; wait until no more than so many wait for each."""
        for pipe in self._pipes:
            pipe.send(second)
        self._waiting += 1
        while self._waiting > ahead:
            assert [pipe.recv() for pipe in self._pipes] == ["taken"] * len(self._pipes)
            self._waiting -= 1

    def end(self) -> dict[str, Any]:
        """End them; return what they counted."""
        for pipe in self._pipes:
            pipe.send(None)
        return {name: each for pipe in self._pipes for name, each in pipe.recv().items()}


def started(job: Any, *words: Any) -> int:
    """Start a process that ends with this one; return its number."""
    child = mp.get_context("spawn").Process(target=job, args=words, daemon=True)
    child.start()
    assert child.pid is not None
    return child.pid


def loaded(module: str, job: str, *words: Any) -> None:
    """Do the job of a module that only its process loads: what it takes is not another's memory."""
    getattr(importlib.import_module(module), job)(*words)


class Listener:
    """A client of the service that takes whatever it is sent."""

    def __init__(self, port: int, tickers: int) -> None:
        self.messages = 0
        self._url = f"ws://127.0.0.1:{port}/v1/stream"
        names = [f"X:C{n}USD" for n in range(tickers)]
        self._asked = orjson.dumps({"action": "subscribe", "tickers": names}).decode()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            with suppress(OSError, ConnectionClosed), connect(self._url, max_size=None) as stream:
                stream.send(self._asked)
                for _ in stream:
                    self.messages += 1
            time.sleep(AGAIN_S)


def offer(publisher: Publisher, second: int, options: argparse.Namespace) -> None:
    """Offer one second's frames, and wait until Redis has them."""
    first = second * options.rate
    at_us = START_US + second * SECOND_US
    step_us = SECOND_US // options.rate
    received = [at_us + step_us * n for n in range(options.rate)]
    holes, tickers = options.holes, options.tickers
    frames = [
        frame(first + n, at_us, tickers, with_holes=holes) for n, at_us in enumerate(received)
    ]
    publisher.frames(Slice("sim", 0, first + 1, frames, received))
    sent = first + options.rate
    until = time.monotonic() + SENT_S_MAX
    while publisher.done.frames < sent:
        assert time.monotonic() < until, publisher.figures()
        time.sleep(POLL_S)


def work(address: str, tickers: int, parent: Connection) -> None:
    """Be the worker: take each second that is told of, until there is none."""
    clock = ManualClock(START_US)
    client = connected(address, wait_s=PATIENCE_S)
    opened = reader.opened(client, "bench", 0, SystemClock())  # a turn ends by Redis's clock
    assert opened is not None
    seed = seed_of(START_US, tickers, INTERVALS)
    teller, online = Teller(0), Online(address, MARKET)
    told: dict[str, Any] = {"beforehand": teller.beforehand, "afterwards": teller.afterwards}
    worker = Worker(opened, Once(), MARKET, clock, seed=seed, effects=teller, **told)
    del seed
    steady()
    parent.send("ready")
    counted = {"bars": 0, "features": 0}
    while (second := parent.recv()) is not None:
        clock.advance(START_US + (second + 1) * SECOND_US - clock.now_us())
        until_us = clock.now_us() - SECOND_US // 2
        while worker.figures()["received_us"] < until_us:
            take(worker, online, clock, counted)
        parent.send("taken")
    lost = opened.counts.lost
    worker.close()
    online.close()
    parent.send({**counted, "lost_entries": lost})


def take(worker: Worker, online: Online, clock: ManualClock, counted: dict[str, int]) -> None:
    """Do a round; serve and count what it closed."""
    found = worker.round(1)
    if found is not None and found.bars is not None and found.features is not None:
        counted["bars"] += found.bars.num_rows
        counted["features"] += found.features.num_rows
        online.push(found.features, clock.now_us())


if __name__ == "__main__":
    main()
