"""From a tick's receipt to its signal, and what one prediction costs.

    python benchmarks/signals.py [--rate 20000] [--seconds 30] [--tickers 100] [--json]

One process offers frames as an ingest does, another is the shard's worker, a third scores what
closes: champion, challenger (a canary of a tenth) and shadow, each of 300 rounds and 21 features.
So that minutes close more often, everybody's clock goes SPEED times as fast as the time that is
measured. tick_to_signal: from the receipt of the newest frame in the round that closes a minute to
a listener's next instruction with its signals, in real time; one value a minute. worker: the part
until the listener has the update; by itself it is what `speed_layer.py` calls closings, and the
scorer adds what is between. single: one vector a call, routed, on one thread, without Redis; asked:
through the service's port, with Redis; http: POST /v1/predict over one connection, in ms.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.models import rows_by_chance  # noqa: E402
from benchmarks.speed_layer import HAND_OVER_S, PASSWORD, frame  # noqa: E402
from feature_repo.feature_set import MARKET  # noqa: E402
from feature_repo.models.registry import Card, Version  # noqa: E402
from feature_repo.models.training import train  # noqa: E402
from feature_repo.models.trees import TreeRecipe, read_trees  # noqa: E402
from infra.servers import ports  # noqa: E402
from infra.servers.valkey_server import ValkeyServer, url  # noqa: E402
from lake.bars.kernel import MINUTE_US  # noqa: E402
from lake.clock import SystemClock  # noqa: E402
from lake.ingest.intake import Slice  # noqa: E402
from serving.live.once import Once  # noqa: E402
from serving.live.seed import SCHEMA, TRADES, Seed  # noqa: E402
from serving.live.told import UPDATE, Teller  # noqa: E402
from serving.live.worker import Worker  # noqa: E402
from serving.risk.kill_switch import KillSwitch  # noqa: E402
from serving.service.api_keys import KeyBook  # noqa: E402
from serving.service.app import app_of  # noqa: E402
from serving.service.limits import Limits  # noqa: E402
from serving.service.parts import Given, Parts  # noqa: E402
from serving.service.server import server_of  # noqa: E402
from serving.service.write_audit import WriteAudit  # noqa: E402
from serving.signals.loaded import loaded  # noqa: E402
from serving.signals.models import InUse, Models, Seat  # noqa: E402
from serving.signals.predictor import LivePredictor  # noqa: E402
from serving.signals.recorder import Recorder  # noqa: E402
from serving.signals.route import CANARY, Route  # noqa: E402
from serving.signals.scorer import HAS_FEATURES, Scorer, Updates  # noqa: E402
from serving.signals.scoring import Told, decided, told_of  # noqa: E402
from serving.signals.told_signals import FIELD  # noqa: E402
from serving.streams import keys, reader  # noqa: E402
from serving.streams.connect import connected  # noqa: E402
from serving.streams.publisher import Publisher  # noqa: E402

SPEED = 20
ROWS = 20_000
CALLS = 5_000
SOURCE = {"interval": "1m", "tickers": []}
MANY = Limits(reads_burst=10**6, reads_per_s=1e6, writes_burst=10**6, writes_per_s=1e6)


class FastClock(SystemClock):
    """The machine's clock, SPEED times as fast since a moment; it sleeps as ever."""

    def __init__(self, begin_us: int) -> None:
        self._begin_us = begin_us

    def now_us(self) -> int:
        return self._begin_us + (time.time_ns() // 1_000 - self._begin_us) * SPEED


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--tickers", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    texts = [text_of(seed) for seed in (1, 2, 3)]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve()
        (home / "log").mkdir()
        server = ValkeyServer(home, SystemClock())
        try:
            address = url(server.up(None, PASSWORD), PASSWORD)
            found = {**asked(address, home, texts), **streamed(address, texts, options)}
        finally:
            server.down()
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:24} {value}")


def text_of(seed: int) -> str:
    """Return a model of the market's features, as `ticklake train` makes it."""
    made = train(rows_by_chance(ROWS, len(MARKET.names)), TreeRecipe(seed=seed, patience=300))
    text: str = made.model.text
    for n, name in reversed(list(enumerate(MARKET.names))):
        text = text.replace(f"f_{n} ", f"{name} ").replace(f"f_{n}\n", f"{name}\n")
        text = text.replace(f"f_{n}=", f"{name}=")
    return text


def use_of(texts: list[str]) -> dict[str, InUse]:
    """Return them as champion, challenger and shadow."""
    seats = {}
    for number, role in enumerate(("champion", "challenger", "shadow"), 1):
        model = read_trees(texts[number - 1], MARKET.names)
        card = Card("direction", model.names, {"source": SOURCE, "release": "none"}, {})
        found = Version("direction", number, "", model.hash, (role,), 0, "")
        seats[role] = Seat(number, loaded(found, model, card))
    return {"direction": InUse("direction", seats, Route(CANARY, 0.1))}


def row_of(n: int, now_us: int) -> dict[str, Any]:
    """Return features as a worker tells them."""
    chance = np.random.default_rng(n)
    values = dict(zip(MARKET.names, chance.normal(size=len(MARKET.names)).tolist(), strict=True))
    where = {"ticker": f"X:C{n}USD", "exchange": "sim", "market": "spot"}
    return {**where, "t": now_us, "known": now_us, "degraded": [], "values": values}


def asked(address: str, home: Path, texts: list[str]) -> dict[str, Any]:
    """Return what one prediction costs: by itself, through the port, over HTTP."""
    clock, client = SystemClock(), connected(address)
    models = Models(home)
    models.in_use = use_of(texts)
    predictor = LivePredictor(models, client, clock)
    now_us = clock.now_us()
    rows = [row_of(n, now_us) for n in range(100)]
    for row in rows:
        client.set(keys.features("sim", "spot", row["ticker"]), orjson.dumps(row))
    told = [told_of(row, now_us) for row in rows]
    use = models.in_use["direction"]
    found: dict[str, Any] = {
        "single_per_s": calls(lambda n: decided(use, told[n % 100 : n % 100 + 1], {}, clock)),
        "asked_per_s": calls(lambda n: predictor.predict(told[n % 100].instrument, explain=False)),
        "explained_per_s": calls(
            lambda n: predictor.predict(told[n % 100].instrument, explain=True)
        ),
    }
    return found | over_http(address, home, predictor, told)


def calls(one: Callable[[int], object]) -> int:
    """Return calls per second."""
    for n in range(200):
        one(n)
    start = time.perf_counter()
    for n in range(CALLS):
        one(n)
    return round(CALLS / (time.perf_counter() - start))


def over_http(
    address: str, home: Path, predictor: LivePredictor, told: list[Told]
) -> dict[str, Any]:
    """Return the latency of POST /v1/predict, plain and with reasons, in ms."""
    clock, client = SystemClock(), connected(address)
    book, audit = KeyBook(home, clock), WriteAudit(home, clock)
    kill = KillSwitch(home / "run" / "killed.json", client, clock)
    parts = Parts(clock, book, audit, kill, client, address, MANY)
    parts.given = Given(predictor=predictor)
    port = ports.choose(None)
    server = server_of(app_of(parts), "127.0.0.1", port)
    thread = threading.Thread(target=server.run)
    thread.start()
    word = book.add("bench", "read")[1]
    found: dict[str, Any] = {}
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {word}"}
    ) as http:
        while not server.started:
            time.sleep(0.05)
        for name, explain in (("http", False), ("http_explained", True)):
            spent = []
            for n in range(1_200):
                where = told[n % 100].instrument._asdict()
                start = time.perf_counter()
                http.post("/v1/predict", json={**where, "explain": explain}).raise_for_status()
                spent.append((time.perf_counter() - start) * 1_000)
            p50, p99 = np.percentile(spent[200:], [50, 99])
            found |= {f"{name}_p50_ms": round(p50, 2), f"{name}_p99_ms": round(p99, 2)}
    server.should_exit = True
    thread.join()
    audit.close()
    return found


def streamed(address: str, texts: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Run all sides; return the figures."""
    context = mp.get_context("spawn")
    begin_us = time.time_ns() // 1_000
    pipes = []
    for target, more in ((work, options.tickers), (score, texts), (listen, None)):
        ours, theirs = context.Pipe()
        given = (address, begin_us, more, theirs)
        context.Process(target=target, args=given, daemon=True).start()
        assert ours.recv() == "ready"
        pipes.append(ours)
    clock = FastClock(begin_us)
    publisher = Publisher(address, 0, 1, 1, SystemClock())
    start, sent = time.monotonic(), 0
    while (passed := time.monotonic() - start) < options.seconds:
        due = int(passed * options.rate)
        if due > sent:
            now_us = clock.now_us()
            frames = [frame(n, now_us, options.tickers) for n in range(sent, due)]
            step_us = HAND_OVER_S * 1e6 * SPEED
            spread = np.linspace(now_us - step_us, now_us, due - sent).astype(int)
            publisher.frames(Slice("sim", 0, sent + 1, frames, spread.tolist()))
            sent = due
        time.sleep(HAND_OVER_S)
    dropped = sum(publisher.queue.dropped.values())
    publisher.close()
    time.sleep(1)
    found: dict[str, Any] = {"offered": sent, "dropped": dropped}
    for pipe in reversed(pipes):
        pipe.send("end")
        found |= pipe.recv()
    return found


def work(address: str, begin_us: int, tickers: int, parent: Connection) -> None:
    """Be the worker until told to end."""
    clock = FastClock(begin_us)
    opened = reader.opened(connected(address), "bench", 0, clock)
    assert opened is not None
    closed_us = clock.now_us() // MINUTE_US * MINUTE_US
    seed = Seed(
        closed_us, 0, SCHEMA.empty_table(), windows(closed_us, tickers), TRADES.empty_table()
    )
    worker = Worker(opened, Once(), MARKET, clock, seed=seed, effects=Teller(0))
    parent.send("ready")
    closings = []
    while not parent.poll():
        before = time.monotonic()
        found = worker.round(20)
        if found is not None and found.bars is not None:
            closings.append(round((time.monotonic() - before) * 1_000, 1))
    parent.send({"closings_ms": closings, "lost_entries": opened.counts.lost})


def windows(closed_us: int, tickers: int) -> pa.Table:
    """Return bars before a minute, so many that every feature of the next has a value."""
    count = MARKET.lookback
    chance = np.random.default_rng(5)
    start = closed_us - MINUTE_US * np.arange(count, 0, -1)
    parts = []
    for n in range(tickers):
        close = np.round(103 + np.cumsum(chance.normal(0, 0.01, count)), 4)
        numbers = {"open": close, "high": close + 0.1, "low": close - 0.1, "close": close}
        numbers |= {"vwap": close, "volume": np.full(count, 5.0), "turnover": close * 5}
        numbers |= {"buy_volume": np.full(count, 3.0), "sell_volume": np.full(count, 2.0)}
        times = pa.array(start).cast(SCHEMA.field("event_time").type)
        said: dict[str, Any] = {"ticker": f"X:C{n}USD", "exchange": "sim:1", "market": "spot"}
        said |= {"interval": "1m", "source": "trades", "trades": 9, "first_seq": 1, "last_seq": 2}
        columns = []
        for field in SCHEMA:
            if field.name in numbers:
                made = pa.array(np.round(numbers[field.name], 8)).cast(field.type, safe=False)
            elif field.name in said:
                made = pa.array([said[field.name]] * count).cast(field.type)
            else:
                made = times.cast(field.type)
            columns.append(made)
        parts.append(pa.table(columns, schema=SCHEMA))
    return pa.concat_tables(parts)


def score(address: str, begin_us: int, texts: list[str], parent: Connection) -> None:
    """Be the process of signals until told to end; nothing is kept."""
    clock, client = FastClock(begin_us), connected(address)
    use = use_of(texts)
    scorer = Scorer(client, Recorder(""), clock, lambda: use, dict)
    updates = Updates(client, clock)
    parent.send("ready")
    spent = []
    while not parent.poll():
        rows = updates.read()
        if rows:
            before = time.perf_counter()
            scorer.score(rows)
            spent.append(round((time.perf_counter() - before) * 1_000, 1))
    parent.send({"scorings_ms": spent})


def listen(address: str, begin_us: int, _: None, parent: Connection) -> None:
    """Note when updates with features are heard, and their signals; send how late these are."""
    clock, client = FastClock(begin_us), connected(address)
    after: Any = {keys.SIGNALS: b"0-0", keys.updates(0): b"0-0"}
    received: dict[int, int] = {}
    heard: dict[int, int] = {}
    signals: list[tuple[int, int]] = []
    predictions = 0
    parent.send("ready")
    while not parent.poll():
        found: Any = client.xread(after, count=500, block=20)
        now_us = clock.now_us()
        for stream, entries in found or ():
            after[stream.decode()] = entries[-1][0]
            for _, fields in entries:
                if HAS_FEATURES in fields.get(UPDATE, b""):
                    update = orjson.loads(fields[UPDATE])
                    minute = max(row["t"] for row in update["features"])
                    received[minute], heard[minute] = update["received_us"], now_us
                elif FIELD in fields:
                    rows = orjson.loads(fields[FIELD])
                    predictions += len(rows)
                    minute = int(rows[0]["prediction_id"].split("/")[-2])
                    signals.append((minute, now_us))
    late = [(at - received[minute]) / SPEED / 1_000 for minute, at in signals if minute in received]
    worker = [(at - received[minute]) / SPEED / 1_000 for minute, at in heard.items()]
    p50, p99 = np.percentile(late, [50, 99])
    parent.send(
        {
            "minutes": len(late),
            "signals": predictions,
            "worker_p50_ms": round(float(np.percentile(worker, 50)), 2),
            "tick_to_signal_p50_ms": round(float(p50), 2),
            "tick_to_signal_p99_ms": round(float(p99), 2),
            "tick_to_signal_max_ms": round(max(late), 2),
        }
    )


if __name__ == "__main__":
    main()
