"""From a strategy's decision to its order's durable event, and from the tick before it.

    python benchmarks/session.py [--rate 20000] [--seconds 200] [--tickers 100] [--flush-ms 50]
        [--json]

Two processes, a Valkey and a PostgreSQL of their own, with fsync. One journals frames as an ingest
does, what came in 2 ms at once, makes them durable every half of flush-ms (TICKLAKE_FLUSH_MS_MAX)
or at once where an order waits for it, and publishes them and how far they are durable; the other
is a live session, whose strategy turns around in each instrument at each minute's close. An order
is durable only once the frames that it rests on are, so the journal's fsync is in what is measured.

decided_ms: from the decision to the session's next instruction after the order's event is
committed. waited_ms: the part of it in which its frames were not known to be on the disk, or orders
before it were on their way.
tick_ms: from the receipt of the last tick that the decision rests on.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import sys
import time
from collections import deque
from collections.abc import Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from _redis import redis_server, show  # noqa: E402
from speed_layer import HAND_OVER_S  # noqa: E402

from feature_repo.ledger.commands import Command, Place  # noqa: E402
from feature_repo.trading.costs import Costs  # noqa: E402
from feature_repo.trading.money import UNIT  # noqa: E402
from infra.servers.postgres_server import PostgresServer  # noqa: E402
from lake.clock import SystemClock  # noqa: E402
from lake.hot.arrange import prepare  # noqa: E402
from lake.ingest.intake import Slice  # noqa: E402
from lake.journal.journal import Journal  # noqa: E402
from serving.live.process import steady  # noqa: E402
from serving.risk.kill_switch import KillSwitch  # noqa: E402
from serving.risk.limits import RiskLimits  # noqa: E402
from serving.session.commands_to_ledger import CommandsToLedger  # noqa: E402
from serving.session.live_shard import LiveShard  # noqa: E402
from serving.session.models import NoModels  # noqa: E402
from serving.session.opening import Opened, opened  # noqa: E402
from serving.session.parts import Parts  # noqa: E402
from serving.session.plan import Plan  # noqa: E402
from serving.session.session import Session  # noqa: E402
from serving.session.turns import group_of, reader_of  # noqa: E402
from serving.streams import owner  # noqa: E402
from serving.streams.connect import connected  # noqa: E402
from serving.streams.keys import Place as Rests  # noqa: E402
from serving.streams.publisher import Publisher  # noqa: E402
from serving.streams.reader import ShardReader  # noqa: E402

CLOCK = SystemClock()
PASSWORD = "only-for-benchmarks"
FEED = "sim"
MINUTE_MS = 60_000
PLAN = Plan(
    {"moving-average-cross": {"fast": "1", "slow": "2", "size": "0.01", "short": "yes"}},
    cash=10**7 * UNIT,
    costs=Costs(latency_us=5_000),
    limits=RiskLimits(orders=None, duplicate_us=None),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=200.0)
    parser.add_argument("--tickers", type=int, default=100)
    parser.add_argument("--flush-ms", type=float, default=50.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with redis_server() as (address, home):
        server = PostgresServer(home, CLOCK)
        try:
            master = server.up(None, PASSWORD)
            dsn = f"postgresql://ticklake:{PASSWORD}@127.0.0.1:{master.port}/ticklake"
            with psycopg.connect(dsn) as connection:
                prepare(connection)
            show(measured(address, dsn, home, options), options.json)
        finally:
            server.down()


def measured(address: str, dsn: str, home: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run both sides; return the figures."""
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=trade, args=(address, dsn, home, theirs), daemon=True)
    journal = Journal(
        home / "journal" / "shard-0", 0, segment_bytes_max=64 << 20, bytes_max=20 << 30
    )
    publisher = Publisher(address, 0, 1, journal.next_frame, CLOCK)
    child.start()
    assert ours.recv() == "ready"
    offered = offer(publisher, journal, options)
    ours.send("end")
    found: dict[str, Any] = ours.recv()
    child.join()
    publisher.close()
    journal.close()
    return {"offered": offered, **found, "dropped": sum(publisher.queue.dropped.values())}


def offer(publisher: Publisher, journal: Journal, options: argparse.Namespace) -> int:
    """Journal and publish frames at the rate; return how many."""
    start, sent, flushed, durable = time.monotonic(), 0, 0.0, 0
    wanted: deque[int] = deque(maxlen=1)
    publisher.wanted = wanted.append
    while (passed := time.monotonic() - start) < options.seconds:
        due = int(passed * options.rate)
        if due > sent:
            now_us = CLOCK.now_us()
            frames = [frame(n, now_us // 1_000, options.tickers) for n in range(sent, due)]
            spread = np.linspace(now_us - HAND_OVER_S * 1e6, now_us, due - sent).astype(int)
            first, received_us = journal.next_frame, spread.tolist()
            journal.append(FEED, 0, frames, received_us)
            publisher.frames(Slice(FEED, 0, first, frames, received_us))
            sent = due
        if passed - flushed >= options.flush_ms / 2_000 or (wanted and wanted[0] > durable):
            durable = journal.flush()
            publisher.durable(durable)
            flushed = passed
        time.sleep(HAND_OVER_S)
    publisher.durable(journal.flush())
    return sent


def frame(n: int, t: int, tickers: int) -> bytes:
    """Return a frame of one event, trades and quotes in turn; a price jumps with each minute."""
    pair, price = f"C{n // 2 % tickers}-USD", 100 + t // MINUTE_MS % 2
    if n % 2:
        return (
            f'[{{"ev":"XT","pair":"{pair}","p":{price},"s":0.5,"t":{t},'
            f'"c":[2],"i":"{n // 2 // tickers}","x":1,"r":{t}}}]'
        ).encode()
    return (
        f'[{{"ev":"XQ","pair":"{pair}","bp":{price},"bs":9.5,"ap":{price + 0.01},'
        f'"as":9.5,"t":{t},"x":1,"r":{t}}}]'
    ).encode()


class Timed(CommandsToLedger):
    """Notes of each new order when it was decided, when it could go and when it had gone."""

    def __init__(self, session: Session, *given: Any) -> None:
        super().__init__(*given)
        self.decided: deque[tuple[float, int] | None] = deque()
        self.found: list[tuple[float, float, float]] = []
        self._of = session
        self._began = 0.0

    def take(self, rests: Rests | None, commands: Iterable[Command]) -> None:
        """Have commands wait."""
        taken, now = list(commands), (time.perf_counter(), self._of.clock_us)
        self.decided += [now if isinstance(each, Place) else None for each in taken]
        super().take(rests, taken)

    def _due(self) -> list[Command]:
        """Return what may go; what this returned last is there by now."""
        now, now_us = time.perf_counter(), CLOCK.now_us()
        for _ in range(len(self.decided) - len(self)):
            noted = self.decided.popleft()
            if noted is not None:
                decided, clock_us = noted
                took = now - decided, self._began - decided, (now_us - clock_us) / 1e6
                self.found.append(took)
        batch = super()._due()
        self._began = time.perf_counter()
        return batch


class TimedShard(LiveShard):
    """A session with timed commands."""

    def __init__(self, parts: Parts, found: Opened, reader: ShardReader) -> None:
        super().__init__(parts, found, reader)
        name = self.session.start.session
        self._waiting = self.timed = Timed(self.session, found.ledger, self._watch, name)


def trade(address: str, dsn: str, home: Path, parent: Connection) -> None:
    """Be the session until told to end; send the figures."""
    client = connected(address)
    kill = KillSwitch(home / "run" / "killed.json", client, CLOCK)
    parts = Parts(home, 0, PLAN, dsn, client, kill, CLOCK, NoModels(), "benchmark")
    with opened(parts) as found:
        turn = owner.take(client, group_of(PLAN), 0)
        assert turn is not None
        live = TimedShard(parts, found, reader_of(parts, turn))
        steady()
        parent.send("ready")
        while not parent.poll():
            live.turn()
    parent.send(
        {
            "orders": len(live.timed.found),
            **spread("decided_ms", [each[0] for each in live.timed.found]),
            **spread("waited_ms", [each[1] for each in live.timed.found]),
            **spread("tick_ms", [each[2] for each in live.timed.found]),
        }
    )


def spread(name: str, seconds: list[float]) -> dict[str, list[float]]:
    """Return p50, p90, p99 and the longest, in milliseconds."""
    cuts = np.percentile(np.array(seconds or [np.nan]) * 1e3, [50, 90, 99, 100])
    return {name: [round(float(each), 2) for each in cuts]}


if __name__ == "__main__":
    main()
