"""From a tick's receipt to its row in a worker, through a real Valkey.

    python benchmarks/speed_layer.py [--rate 20000] [--seconds 20] [--tickers 100] [--json]

One process offers frames as an ingest does, what came in 2 ms at once; another reads them, decodes,
takes each event once, writes latest prices and acknowledges. latency: from received_time to the
worker's next instruction after its effects are written, over all rows. bars: the rounds in which a
minute closed, and how long they took.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from _noted import Noted  # noqa: E402
from _redis import measure_on_redis  # noqa: E402

from feature_repo.feature_set import MARKET  # noqa: E402
from lake.bars.kernel import MINUTE_US  # noqa: E402
from lake.clock import SystemClock  # noqa: E402
from lake.ingest.intake import Slice  # noqa: E402
from serving.live.process import steady  # noqa: E402
from serving.live.seed import nothing_before  # noqa: E402
from serving.live.worker import Worker  # noqa: E402
from serving.streams import reader  # noqa: E402
from serving.streams.connect import connected  # noqa: E402
from serving.streams.publisher import Publisher  # noqa: E402

HAND_OVER_S = 0.002
WARM_S = 3.0
"""Left out at the beginning: the programs are still loading."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    measure_on_redis(parser, measured)


def measured(address: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run both sides; return the figures."""
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=work, args=(address, theirs), daemon=True)
    child.start()
    assert ours.recv() == "ready"
    publisher = Publisher(address, 0, 1, 1, SystemClock())
    offered = offer(publisher, options)
    publisher.close()
    time.sleep(0.5)
    ours.send("end")
    found: dict[str, Any] = ours.recv()
    child.join()
    drops = publisher.queue.dropped
    return {"offered": offered, **found, "dropped": sum(drops.values())}


def offer(publisher: Publisher, options: argparse.Namespace) -> int:
    """Offer frames at the rate; return how many."""
    clock = SystemClock()
    start, sent = time.monotonic(), 0
    while (passed := time.monotonic() - start) < options.seconds:
        due = int(passed * options.rate)
        if due > sent:
            now_us = clock.now_us()
            frames = [frame(n, now_us, options.tickers) for n in range(sent, due)]
            spread = np.linspace(now_us - HAND_OVER_S * 1e6, now_us, due - sent).astype(int)
            publisher.frames(Slice("sim", 0, sent + 1, frames, spread.tolist()))
            sent = due
        time.sleep(HAND_OVER_S)
    return sent


def frame(n: int, now_us: int, tickers: int, *, with_holes: bool = False) -> bytes:
    """Return a frame of one event: trades and quotes in turn.

    Trades of a pair are counted, as most venues do; with_holes: all pairs' together.
    """
    t, pair = now_us // 1_000, f"C{n // 2 % tickers}-USD"
    number = n if with_holes else n // 2 // tickers
    if n % 2:
        return (
            f'[{{"ev":"XT","pair":"{pair}","p":{100 + n % 7},"s":{n % 11}.5,"t":{t},'
            f'"c":[2],"i":"{number}","x":1,"r":{t}}}]'
        ).encode()
    return (
        f'[{{"ev":"XQ","pair":"{pair}","bp":{100 + n % 7},"bs":1.5,"ap":{101 + n % 7},'
        f'"as":2.5,"t":{t},"x":1,"r":{t}}}]'
    ).encode()


def work(address: str, parent: Connection) -> None:
    """Be the worker until told to end; send the figures."""
    clock = SystemClock()
    opened = reader.opened(connected(address), "bench", 0, clock)
    assert opened is not None
    closed_us = clock.now_us() // MINUTE_US * MINUTE_US
    noted = Noted()
    worker = Worker(opened, noted, MARKET, clock, seed=nothing_before(closed_us))
    latencies: list[np.ndarray[Any, Any]] = []
    closings: list[float] = []
    rounds = 0
    steady()
    parent.send("ready")
    start = time.monotonic()
    while not parent.poll():
        before = time.monotonic()
        found = worker.round(20)
        if found is None or before - start < WARM_S:
            noted.received_us()
            continue
        now_us = clock.now_us()
        rounds += 1
        latencies.append(now_us - noted.received_us())
        if found.bars is not None:
            closings.append(time.monotonic() - before)
    every = np.concatenate(latencies) / 1_000
    p50, p90, p99 = np.percentile(every, [50, 90, 99])
    parent.send(
        {
            "rows": len(every),
            "p50_ms": round(float(p50), 2),
            "p90_ms": round(float(p90), 2),
            "p99_ms": round(float(p99), 2),
            "max_ms": round(float(every.max()), 2),
            "rounds": rounds,
            "closings_ms": [round(each * 1_000, 1) for each in closings],
            "lost_entries": opened.counts.lost,
        }
    )


if __name__ == "__main__":
    main()
