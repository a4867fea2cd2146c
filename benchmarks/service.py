"""The live service under listeners: how late they hear, and what the page costs.

    python benchmarks/service.py [--clients 500] [--each 1] [--services 1] [--find] [--rate 10]
        [--seconds 20] [--tickers 100] [--json]
    python benchmarks/service.py --page MINUTES

A worker's updates go through a real Valkey: each ticker changes `rate` times a second, each client
hears of `each` tickers: so many subscriptions. latency: from the update's entry in Redis to the
client's next instruction with it, over every update that was heard; heard: updates of a
subscription a second. Clients are in processes of their own, and spread over `services` processes
of the service, as a balancer with sticky sessions does; service_cpu is each one's share of a core,
service_mib its memory. --find: clients double from there on until p99 is above 100 ms, fewer than
95 % of the updates are heard, or one is cut; the largest that held is told, with the first that did
not.

--page: Chromium on the page, `tickers` live at 20 updates/s each. first_paint: of the page opened
anew, ms. own: what the page's modules do for a frame. frame: all that the main thread does from a
frame to the next, over TRACED_S: messages, our work, the chart's, style, layout, paint, collection.
heap: after a collection, minute by minute.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing as mp
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import websockets
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from _frames import CATEGORIES, frames_of  # noqa: E402
from _redis import redis_server  # noqa: E402

from infra.servers import ports  # noqa: E402
from infra.servers.process import memory_bytes  # noqa: E402
from lake.clock import SystemClock  # noqa: E402
from serving.risk.kill_switch import KillSwitch  # noqa: E402
from serving.service.api_keys import KeyBook  # noqa: E402
from serving.service.app import app_of  # noqa: E402
from serving.service.limits import Limits  # noqa: E402
from serving.service.parts import Parts  # noqa: E402
from serving.service.server import server_of  # noqa: E402
from serving.service.write_audit import WriteAudit  # noqa: E402
from serving.streams import keys  # noqa: E402
from serving.streams.connect import connected  # noqa: E402

WARM_S = 3.0
P99_MS_MAX, HEARD_SHARE_MIN = 100.0, 0.95
CONNECT_AT_ONCE = 50
PROCESSES = 2
OPENED, TRACED_S = 5, 20.0
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
MANY = Limits(10**6, 1e6, 10**6, 1e6, clients_max=100_000, clients_of_one_max=100_000)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--each", type=int, default=1)
    parser.add_argument("--services", type=int, default=1)
    parser.add_argument("--find", action="store_true")
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--tickers", type=int, default=100)
    parser.add_argument("--page", type=float, metavar="MINUTES")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with redis_server() as (redis_url, home), services(redis_url, home, options) as served:
        if options.page:
            found = page(redis_url, served[0][0], options)
        elif options.find:
            found = largest(redis_url, served, options)
        else:
            found = listened(redis_url, served, options, options.clients)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:24} {value}")


Served = list[tuple[str, int]]
"""Address and process of each service."""


@contextmanager
def services(redis_url: str, home: Path, options: argparse.Namespace) -> Iterator[Served]:
    """Run services in processes of their own."""
    context = mp.get_context("spawn")
    children, found = [], []
    for _ in range(options.services):
        port = ports.choose(None)
        child = context.Process(target=serve, args=(redis_url, home, port), daemon=True)
        child.start()
        children.append(child)
        found.append((f"127.0.0.1:{port}", child.pid or 0))
    try:
        yield found
    finally:
        for child in children:
            child.terminate()
            child.join()


def serve(redis_url: str, home: Path, port: int) -> None:
    """Be the service."""
    clock, client = SystemClock(), connected(redis_url)
    kill = KillSwitch(home / "run" / "killed.json", client, clock)
    book, audit = KeyBook(home, clock), WriteAudit(home, clock)
    parts = Parts(clock, book, audit, kill, client, redis_url, MANY)
    server_of(app_of(parts), "127.0.0.1", port).run()


class Feed:
    """A worker's updates at a rate, until told to end."""

    def __init__(self, redis_url: str, tickers: int, rate: float) -> None:
        self._client = connected(redis_url)
        self._tickers = tickers
        self._rate = rate
        self.sent = 0
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        """Spread the changes of a second evenly, a hundred entries a second."""
        self._client.sadd(keys.SHARDS, 0)
        clock, start, at = SystemClock(), time.monotonic(), 0
        while not self.end.wait(0.01):
            due = int((time.monotonic() - start) * self._rate * self._tickers)
            now_us = clock.now_us()
            rows = [
                {"ticker": f"T{n % self._tickers}", "exchange": "sim", "market": "spot",
                 "t": now_us, "s": n, "price": f"{100 + n % 9}.5", "size": "1"}
                for n in range(max(at, due - self._tickers), due)
            ]  # fmt: skip
            at = due
            if not rows:
                continue
            empty: dict[str, Any] = {name: [] for name in ("quotes", "bars", "gone", "features")}
            update = {"received_us": now_us, "dropped": 0, "prices": rows, **empty}
            entry: Any = {"u": orjson.dumps(update)}
            self._client.xadd(keys.updates(0), entry, maxlen=5_000, approximate=True)
            self.sent += len(rows)


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def largest(redis_url: str, served: Served, options: argparse.Namespace) -> dict[str, Any]:
    """Double the clients until one of the bounds is passed; return what held last."""
    clients, held = options.clients, {}
    while True:
        found = listened(redis_url, served, options, clients)
        print(json.dumps(found), file=sys.stderr, flush=True)
        is_heard = found["heard_per_s"] >= HEARD_SHARE_MIN * options.rate
        if found["cut"] or found["p99_ms"] > P99_MS_MAX or not is_heard:
            return {**held, "not_any_more": found}
        held, clients = found, 2 * clients


def listened(
    redis_url: str, served: Served, options: argparse.Namespace, clients: int
) -> dict[str, Any]:
    """Run listeners in processes; return how late they heard."""
    feed = Feed(redis_url, options.tickers, options.rate)
    feed.thread.start()
    context = mp.get_context("spawn")
    shares = np.array_split(np.arange(clients), PROCESSES)
    pipes = []
    for share in shares:
        ours, theirs = context.Pipe()
        addresses = [address for address, _ in served]
        given = (addresses, share.tolist(), options.tickers, options.each, options.seconds, theirs)
        context.Process(target=listen, args=given, daemon=True).start()
        pipes.append(ours)
    for pipe in pipes:
        assert pipe.recv() == "ready"
    start, used = time.monotonic(), [cpu_s(pid) for _, pid in served]
    for pipe in pipes:
        pipe.send("go")
    answers = [pipe.recv() for pipe in pipes]
    took_s = time.monotonic() - start
    cores = [(cpu_s(pid) - before) / took_s for (_, pid), before in zip(served, used, strict=True)]
    feed.end.set()
    every = np.concatenate([each["ms"] for each in answers])
    p50, p99 = np.percentile(every, [50, 99])
    subscriptions = clients * options.each
    heard = len(every) / subscriptions / options.seconds
    return {
        "services": len(served),
        "clients": clients,
        "subscriptions": subscriptions,
        "asked_per_s": options.rate,
        "heard_per_s": round(heard, 2),
        "p50_ms": round(float(p50), 1),
        "p99_ms": round(float(p99), 1),
        "max_ms": round(float(every.max()), 1),
        "service_cpu": [round(each, 2) for each in cores],
        "service_mib": [round(memory_bytes(pid) / 2**20) for _, pid in served],
        "cut": sum(each["cut"] for each in answers),
    }


def listen(
    addresses: list[str],
    numbers: list[int],
    tickers: int,
    each: int,
    seconds: float,
    parent: Connection,
) -> None:
    """Be these clients."""
    asked = [
        (addresses[n % len(addresses)], [f"T{(n * each + k) % tickers}" for k in range(each)])
        for n in numbers
    ]
    asyncio.run(listen_all(asked, seconds, parent))


async def listen_all(
    clients: list[tuple[str, list[str]]], seconds: float, parent: Connection
) -> None:
    """Connect, wait for the others, note how late each update is."""
    streams = []
    for at in range(0, len(clients), CONNECT_AT_ONCE):
        asked = (opened(*each) for each in clients[at : at + CONNECT_AT_ONCE])
        streams += await asyncio.gather(*asked)
    parent.send("ready")
    await asyncio.to_thread(parent.recv)
    end = time.monotonic() + WARM_S + seconds
    found = await asyncio.gather(*(one(each, end - seconds, end) for each in streams))
    ms = np.concatenate([np.asarray(each, float) for each, _ in found])
    parent.send({"ms": ms, "cut": sum(cut for _, cut in found)})


async def opened(address: str, tickers: list[str]) -> Any:
    """Return a client that has subscribed."""
    for _ in range(50):
        try:
            stream = await websockets.connect(f"ws://{address}/v1/stream", compression=None)
            break
        except OSError:
            await asyncio.sleep(0.2)
    else:
        raise AssertionError("the service does not answer")
    await stream.send(json.dumps({"action": "subscribe", "tickers": tickers}))
    return stream


async def one(stream: Any, begin: float, end: float) -> tuple[list[float], int]:
    """Return the latencies in ms that a client saw between two times."""
    found: list[float] = []
    try:
        while (now := time.monotonic()) < end:
            async with asyncio.timeout(end - now):
                raw = await stream.recv()
            at_us = time.time_ns() // 1_000
            if now < begin:
                continue
            rows = orjson.loads(raw).get("prices", ())
            found += [(at_us - row["t"]) / 1_000 for row in rows]
    except TimeoutError:
        pass
    except websockets.ConnectionClosed:
        return found, 1
    return found, 0


def page(redis_url: str, address: str, options: argparse.Namespace) -> dict[str, Any]:
    """Let Chromium look at the page; return frames and heap."""
    feed = Feed(redis_url, options.tickers, 20.0)
    feed.thread.start()
    heaps: list[float] = []
    paints: list[float] = []
    with sync_playwright() as playwright:
        binary = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 1600, "height": 960})
        for _ in range(50):
            try:
                shown.goto(f"http://{address}")
                break
            except Exception:
                time.sleep(0.2)
        for _ in range(OPENED):
            shown.close()
            shown = browser.new_page(viewport={"width": 1600, "height": 960})
            shown.goto(f"http://{address}")
            shown.wait_for_selector("#link[data-mood=good]")
            paints.append(shown.evaluate(PAINT))
        shown.wait_for_timeout(5_000)
        shown.evaluate("ticklake.lately.length = 0")
        tools = shown.context.new_cdp_session(shown)
        for _ in range(max(1, round(options.page)) + 1):
            tools.send("HeapProfiler.collectGarbage")
            heaps.append(tools.send("Runtime.getHeapUsage")["usedSize"] / 2**20)
            shown.wait_for_timeout(60_000 if options.page >= 1 else options.page * 60_000)
        own = shown.evaluate("ticklake.lately")
        browser.start_tracing(page=shown, categories=list(CATEGORIES))
        shown.wait_for_timeout(TRACED_S * 1_000)
        frames = frames_of(browser.stop_tracing())
        browser.close()
    feed.end.set()
    return {
        "tickers": options.tickers,
        "first_paint_ms": [round(each, 1) for each in sorted(paints)],
        **spread("own", own),
        **spread("frame", frames),
        "frames_per_s": round(len(frames) / TRACED_S, 1),
        "heap_mib": [round(each, 2) for each in heaps],
    }


def spread(name: str, values: list[float]) -> dict[str, float]:
    """Return p50, p99 and the largest of milliseconds."""
    cuts = np.percentile(np.asarray(values), [50, 99, 100])
    parts = zip(("p50", "p99", "max"), cuts, strict=True)
    return {f"{name}_{part}_ms": round(float(cut), 2) for part, cut in parts}


if __name__ == "__main__":
    main()
