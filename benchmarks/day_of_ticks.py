"""The speed layer's memory over a day of ticks, sped up: a worker through a real Valkey.

    python benchmarks/day_of_ticks.py [--hours 24] [--rate 5000] [--tickers 100] [--holes]
        [--json]

A clock that is moved by hand makes a second of events last as long as they need: one process offers
a second's frames as an ingest does, another takes each event once, writes latest prices, closes
bars and makes features, tells of it and serves it as a worker of `live` does, and acknowledges. It
begins with windows that are full, as beside a lake.
memory: of the worker and of Valkey at the end of each hour, MiB; grown: the last hour's as a share
of the third's, by when caches are full (1: flat). --holes: no trade's id follows on another of its
pair, which is what fills memory most.
speed: how many seconds of the day pass in one.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from _redis import measure_on_redis  # noqa: E402
from _seeds import seed_of  # noqa: E402
from speed_layer import frame  # noqa: E402

from feature_repo.feature_set import MARKET  # noqa: E402
from infra.servers.process import memory_bytes  # noqa: E402
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

START_US = 1_700_006_400_000_000
"""A midnight, UTC."""

SECOND_US, HOUR_S = 1_000_000, 3_600
FULL_H = 3
"""The hour by whose end windows and caches are full."""

SENT_S_MAX, POLL_S = 60.0, 0.000_5
PATIENCE_S = 60.0
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
    """Run both sides; return the figures."""
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=work, args=(address, options.tickers, theirs), daemon=True)
    child.start()
    assert ours.recv() == "ready"
    assert child.pid is not None
    publisher = Publisher(address, 0, 1, 1, ManualClock(START_US))
    memory: list[tuple[int, int]] = []
    began, waiting = time.monotonic(), 0
    with connected(address) as client:
        for second in range(options.hours * HOUR_S):
            offer(publisher, second, options)
            ours.send(second)
            waiting += 1
            is_hour = (second + 1) % HOUR_S == 0
            while waiting > (0 if is_hour else AHEAD_MAX):
                assert ours.recv() == "taken"
                waiting -= 1
            if is_hour:
                used = int(client.info("memory")["used_memory"])
                memory.append((memory_bytes(child.pid) >> 20, used >> 20))
                print(f"hour {len(memory)}: {memory[-1]} MiB", file=sys.stderr, flush=True)
    passed_s = time.monotonic() - began
    ours.send(None)
    counted: dict[str, Any] = ours.recv()
    child.join()
    publisher.close()
    full = memory[min(FULL_H, len(memory)) - 1]
    return {
        "offered": options.hours * HOUR_S * options.rate,
        "dropped": sum(publisher.queue.dropped.values()),
        **counted,
        "speed": round(options.hours * HOUR_S / passed_s, 1),
        "worker_mib": [each for each, _ in memory],
        "valkey_mib": [each for _, each in memory],
        "grown": [round(last / first, 3) for last, first in zip(memory[-1], full, strict=True)],
    }


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
