"""From a tick's receipt to the signal that it brings, whole, through a real Valkey.

    python benchmarks/tick_to_signal.py [--rate 20000] [--seconds 130] [--tickers 100] [--json]

Three processes: one offers frames as an ingest does (benchmarks/speed_layer.py); a worker makes
prices, bars and features of them and tells them (serving.live.worker, told); a scorer asks a
LightGBM model in use and tells its signals (serving.signals). The worker begins with an hour of
seconds and a lookback of minutes, so that features are whole. Nothing is kept in PostgreSQL, nor
pushed to the online store: both come after the signal.

A signal comes with a minute's close and not with each tick, so there are two figures.

state_ms: every tick: from received_time to the worker's next instruction after prices and quotes of
its round are written and told.
signal_ms: the tick that closes a minute is the first that is received GRACE_US (one second, for
late ticks) after its end. From that moment, which is before its receipt, to the scorer's next
instruction after Redis has answered that the signals are told; over all signals. told_ms: to the
worker's, after bars and features were told; the rest is the scorer's. All of a minute's signals are
told at once.
stalls_ms: the longest rounds. cpu_percent: processor time of each process, of one core: the one
that offers shares the machine.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from redis import Redis

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from _noted import Noted  # noqa: E402
from _redis import measure_on_redis  # noqa: E402
from _seeds import SEED, seed_of  # noqa: E402
from speed_layer import WARM_S, offer  # noqa: E402

from feature_repo.feature_set import MARKET  # noqa: E402
from feature_repo.models.registry import Card, Version  # noqa: E402
from feature_repo.models.rows import Rows  # noqa: E402
from feature_repo.models.trees import TreeRecipe, fit  # noqa: E402
from lake.bars.kernel import MINUTE_US  # noqa: E402
from lake.clock import SystemClock  # noqa: E402
from lake.errors import Fenced  # noqa: E402
from serving.live.process import steady  # noqa: E402
from serving.live.told import Teller  # noqa: E402
from serving.live.worker import GRACE_US, Worker  # noqa: E402
from serving.signals.loaded import Loaded, loaded  # noqa: E402
from serving.signals.models import InUse, Seat  # noqa: E402
from serving.signals.recorder import Recorder  # noqa: E402
from serving.signals.scorer import Scorer, Updates  # noqa: E402
from serving.streams import reader  # noqa: E402
from serving.streams.connect import connected  # noqa: E402
from serving.streams.publisher import Publisher  # noqa: E402

ROWS, ROUNDS = 2_000, 100
"""Of the training, and of the model."""

LONGEST = 8
"""Rounds that are shown."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=130.0)
    measure_on_redis(parser, measured)


def measured(address: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run all sides; return the figures."""
    context = mp.get_context("spawn")
    pipes, children = [], []
    for job in (work, signal):
        ours, theirs = context.Pipe()
        args = (address, options.tickers, theirs)
        children.append(context.Process(target=job, args=args, daemon=True))
        children[-1].start()
        pipes.append(ours)
    assert [each.recv() for each in pipes] == ["ready", "ready"]
    publisher = Publisher(address, 0, 1, 1, SystemClock())
    before = cpu_s(address)
    offered = offer(publisher, options)
    own_s, redis_s = (now - then for now, then in zip(cpu_s(address), before, strict=True))
    publisher.close()
    time.sleep(0.5)
    cpu = {"offering": share(own_s, options.seconds), "redis": share(redis_s, options.seconds)}
    found: dict[str, Any] = {"offered": offered, "dropped": sum(publisher.queue.dropped.values())}
    for pipe, child in zip(pipes, children, strict=True):
        pipe.send("end")
        of_child = pipe.recv()
        cpu |= of_child.pop("cpu")
        found |= of_child
        child.join()
    return found | {"cpu_percent": cpu}


def cpu_s(address: str) -> tuple[float, float]:
    """Return the processor time that this process and Redis have taken so far."""
    with connected(address) as client:
        said: Any = client.info("cpu")
    return time.process_time(), said["used_cpu_user"] + said["used_cpu_sys"]


def share(spent_s: float, of_s: float) -> float:
    """Return processor time in percent of one core."""
    return round(100 * spent_s / of_s, 1)


def work(address: str, tickers: int, parent: Connection) -> None:
    """Be the worker until told to end; send the figures."""
    clock = SystemClock()
    opened, worker, noted = _worker(address, tickers, clock)
    steady()
    latencies: list[npt.NDArray[np.int64]] = []
    told: list[float] = []
    rounds: list[float] = []
    parent.send("ready")
    start, spent_s = time.monotonic(), time.process_time()
    while not parent.poll():
        before = time.monotonic()
        found = worker.round()
        now_us = clock.now_us()
        if found is None or before - start < WARM_S:
            noted.received_us()
            continue
        rounds.append(1_000 * (time.monotonic() - before))
        latencies.append(now_us - noted.received_us())
        if found.bars is not None:
            told.append((now_us - worker.bars.closed_us - GRACE_US) / 1_000)
    parent.send(
        {
            "state_ms": percentiles(np.concatenate(latencies) / 1_000),
            "rounds": len(rounds),
            "round_ms": percentiles(np.asarray(rounds)),
            "stalls_ms": [round(each, 1) for each in sorted(rounds)[: -LONGEST - 1 : -1]],
            "told_ms": [round(each, 1) for each in told],
            "lost_entries": opened.counts.lost,
            "cpu": {"worker": share(time.process_time() - spent_s, time.monotonic() - start)},
        }
    )


def _worker(
    address: str, tickers: int, clock: SystemClock
) -> tuple[reader.ShardReader, Worker, Noted]:
    """Return a worker and its reader; on a busy machine its turn may be over before it is made."""
    seed = seed_of(clock.now_us() // MINUTE_US * MINUTE_US, tickers)
    while True:
        opened = reader.opened(connected(address), "bench", 0, clock)
        if opened is None:
            time.sleep(0.5)
            continue
        noted = Noted()
        teller = Teller(0)
        worker = Worker(
            *(opened, noted, MARKET, clock),
            seed=seed,
            effects=teller,
            beforehand=teller.beforehand,
            afterwards=teller.afterwards,
        )
        try:
            worker.round()
        except Fenced:
            worker.close()
            continue
        return opened, worker, noted


def signal(address: str, tickers: int, parent: Connection) -> None:
    """Be the process of signals until told to end; send the figures."""
    clock = SystemClock()
    client = connected(address)
    telling = Telling(client, clock)
    use = {"bench": InUse("bench", {"champion": Seat(1, trained())})}
    scorer = Scorer(cast("Redis", telling), Recorder(""), clock, lambda: use, dict)
    scorer.begin()
    updates = Updates(client, clock)
    found: list[tuple[int, float, int]] = []
    steady()
    parent.send("ready")
    start, spent_s = time.monotonic(), time.process_time()
    while not parent.poll():
        rows = updates.read()
        told = scorer.score(rows) if rows else []
        scorer.foresee(updates.ahead())
        if told:
            due_us = max(row.t_us for row in rows) + GRACE_US
            found.append((len(told), (telling.at_us - due_us) / 1_000, due_us))
    every = np.repeat([ms for _, ms, _ in found], [count for count, *_ in found])
    minutes = [f"{count} in {ms:.1f}" for count, ms, _ in found]
    said = {"signals": len(every), "signal_ms": percentiles(every), "minutes_ms": minutes}
    cpu = {"scorer": share(time.process_time() - spent_s, time.monotonic() - start)}
    parent.send({**said, "cpu": cpu})


class Telling:
    """A scorer's way to Redis, that notes when what it told was answered: what follows in the
    scorer's round, keeping and explaining, nobody waits for.
    """

    def __init__(self, client: Redis, clock: SystemClock) -> None:
        self._client = client
        self._clock = clock
        self.at_us = 0

    def xadd(self, *words: Any, **more: Any) -> Any:
        """Tell."""
        answer = self._client.xadd(*words, **more)
        self.at_us = self._clock.now_us()
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def trained() -> Loaded:
    """Return a model of the market's features, of random rows, as one that is in use."""
    random = np.random.default_rng(SEED)
    features = random.normal(50, 10, (ROWS, len(MARKET.names)))
    times = np.arange(ROWS, dtype=np.int64)
    side = random.integers(-1, 2, ROWS)
    series = np.zeros(ROWS, np.int64)
    rows = Rows(MARKET.names, features, side * 0.1, side, times, times, times, series, 0)
    model = fit(rows, None, TreeRecipe(), ROUNDS)
    source = {"interval": "1m", "tickers": [], "label": "forward", "horizon": 15}
    card = Card("bench", model.names, {"source": source, "release": "bench"}, {})
    return loaded(Version("bench", 1, "run", "hash", (), 0, ""), model, card)


def percentiles(values: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return p50, p90, p99 and the largest."""
    if not len(values):
        return {}
    found = np.percentile(values, [50, 90, 99, 100]).tolist()
    names = ("p50", "p90", "p99", "max")
    return {name: round(each, 2) for name, each in zip(names, found, strict=True)}


if __name__ == "__main__":
    main()
