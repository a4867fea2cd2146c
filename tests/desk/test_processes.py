"""Issue 7, faults: processes that are killed, paused, or find PostgreSQL and Redis away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from infra.servers.postgres_server import PostgresServer
from lake.clock import ManualClock, SystemClock
from lake.errors import Refused, Unavailable
from lake.hot.arrange import prepare
from serving.desk.market import Rest
from serving.desk.rests import FrameRests, hold_until_durable
from serving.desk.said import RiskRefused
from serving.streams import keys
from serving.streams.connect import connected
from serving.streams.keys import Place
from tests.conftest import PASSWORD, wheel
from tests.desk.desks import World, faults_of, order, until

CLOCK = SystemClock()
ROOT = Path(__file__).resolve().parents[2]
LIVES = 4
SHARD = 4_711
SECOND = 1_000_000
"""Number of the first order of who takes over."""


class Life:
    """A process with a desk, and what it has said."""

    def __init__(self, world: World, first: int) -> None:
        words = (sys.executable, "-m", "tests.desk.desk_process", world.dsn, world.account)
        self.process = subprocess.Popen(
            [*words, str(first)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def heard(self) -> list[str]:
        return [line.split()[1] for line in list(self.lines) if line.startswith("heard")]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def life(world: World, first: int) -> Iterator[Life]:
    made = Life(world, first)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def real(ledger_dsn: str) -> Iterator[World]:
    """Return an account in real time."""
    made = World(ledger_dsn, CLOCK)
    yield made
    made.book.close()


def check(world: World, heard: list[str]) -> None:
    """Let a last desk finish; everything heard of is there, and all of it once."""
    desk = world.led()
    assert until(lambda: not unsettled(world, desk))
    desk.close()
    rows = world.book.orders(world.account, 10_000)
    names = [row["client_order_id"] for row in rows]
    assert len(names) == len(set(names))
    assert set(heard) <= set(names)
    query = """
        SELECT count(*) FILTER (WHERE event_type = 'created'),
            sum(size) FILTER (WHERE event_type IN ('filled', 'partially_filled'))
        FROM market.order_events WHERE account = %s
        """
    with psycopg.connect(world.dsn) as connection:
        created, filled = connection.execute(query, (world.account,)).fetchone() or (0, 0)
    assert created == len(names)
    held = world.book.positions(world.account)
    assert [row["size"] for row in held] == [f"{filled:.0f}"] if filled else held == []
    assert faults_of(world.dsn) == []


def written(world: World, upto: int) -> set[str]:
    """Return the orders in the ledger whose number is below this."""
    names = (row["client_order_id"] for row in world.book.orders(world.account, 10_000))
    return {name for name in names if int(name[1:]) < upto}


def unsettled(world: World, desk: object) -> list[str]:
    """Return market orders that still work; limits rest below the market."""
    world.prices.tell(100, 10_000)
    desk.turn()  # type: ignore[attr-defined]
    rows = world.book.orders(world.account, 10_000)
    states = ("created", "accepted", "partially_filled")
    return [r["client_order_id"] for r in rows if r["current_state"] in states and not r["price"]]


def test_kill_9_at_any_moment(real: World) -> None:
    heard: list[str] = []
    first = 0
    for n in range(LIVES):
        with life(real, first) as process:
            assert until(lambda: len(process.heard()) > 5 + 3 * n)  # noqa: B023
        heard += process.heard()
        first = int(heard[-1][1:])  # asked for again by the next
    check(real, heard)


def test_a_leader_that_slept_can_write_no_more_after_another_took_over(real: World) -> None:
    with life(real, 0) as sleeper:
        assert until(lambda: len(sleeper.heard()) > 3)
        os.kill(sleeper.process.pid, signal.SIGSTOP)
        with life(real, SECOND) as second:
            assert until(lambda: len(second.heard()) > 3)
            before = written(real, upto=SECOND)
            os.kill(sleeper.process.pid, signal.SIGCONT)
            assert until(lambda: any("another process leads" in line for line in sleeper.lines))
            led = len(second.heard())
            assert until(lambda: len(second.heard()) > led + 3)  # and so it goes on
            assert written(real, upto=SECOND) == before
            assert set(sleeper.heard()) <= before
        heard = [*sleeper.heard(), *second.heard()]
    check(real, heard)


def test_postgres_away_refuses_with_a_reason_and_doubles_nothing(tmp_path: Path) -> None:
    home = tmp_path.resolve() / "home"
    (home / "log").mkdir(parents=True)
    server = PostgresServer(home, CLOCK, wheel())
    master = server.up(None, PASSWORD)
    dsn = f"postgresql://ticklake:{PASSWORD}@127.0.0.1:{master.port}/ticklake"
    try:
        with psycopg.connect(dsn) as connection:
            prepare(connection)
        world = World(dsn, CLOCK)
        world.prices.tell(100)
        desk = world.led()
        thread = threading.Thread(target=desk.run)
        thread.start()
        assert desk.place(world.account, order("before"), "ann").is_new
        server.down()
        world.prices.tell(100)
        start_us = CLOCK.monotonic_us()
        for _ in range(5):
            with pytest.raises(Unavailable) as said:
                desk.place(world.account, order("while"), "ann")
            assert said.value.remedy
        with pytest.raises(Unavailable):
            world.book.orders("", 10)
        assert desk.cancel_all("ann") >= 0
        assert CLOCK.monotonic_us() - start_us < 5_000_000
        assert until(lambda: not desk.leads)  # or it may lead by a session that is over
        server.up(master.port, PASSWORD)
        assert until(lambda: desk.leads)
        world.prices.tell(100)
        assert desk.place(world.account, order("while"), "ann").is_new
        assert not desk.place(world.account, order("before"), "ann").is_new
        assert until(lambda: (world.prices.tell(100), world.state("while"))[1] == "filled")
        assert len(world.book.orders(world.account, 10)) == 2
        desk.ended.set()
        thread.join()
        world.book.close()
        assert faults_of(dsn) == []
    finally:
        server.down()


def test_frames_are_durable_as_the_ingest_says_and_redis_may_be_emptied(
    valkey_url: str, world: World
) -> None:
    client = connected(valkey_url, wait_s=60.0)
    rests = FrameRests(client, CLOCK)
    rest = Rest(SHARD, (Place(1, 7),))
    assert rests.about(rest) == "waiting"
    assert client.get(keys.wanted(SHARD, 1)) == b"7", "ingest is asked to hurry"

    def arrives() -> None:
        client.hset(keys.starts(SHARD), "1", 1)
        client.xadd(keys.durable(SHARD), {"start": 1}, id="1-7")

    timer = threading.Timer(0.1, arrives)
    timer.start()
    hold_until_durable(rests, rest, ManualClock())  # which stands: it waits as long as it takes
    timer.join()
    void = Rest(SHARD, (Place(1, 9),))
    client.hset(keys.starts(SHARD), "2", 8)
    client.xadd(keys.durable(SHARD), {"start": 8}, id="2-10")
    assert rests.about(Rest(SHARD, (Place(2, 10),))) == "durable"
    assert rests.about(void) == "void"
    with pytest.raises(Refused, match="lost"):
        hold_until_durable(rests, None, CLOCK)
    client.delete(keys.durable(SHARD), keys.starts(SHARD))
    assert rests.about(rest) == "durable"
    assert rests.about(Rest(SHARD, (Place(2, 11),))) == "waiting"
    desk = world.led()
    world.clock.sleep(6)  # nothing is told any more
    with pytest.raises(RiskRefused, match="too old"):
        desk.place(world.account, order("stale"), "ann")
    desk.close()
    client.close()
    gone = FrameRests(connected("redis://127.0.0.1:1/0"), CLOCK)
    for _ in range(2):
        with pytest.raises(Unavailable, match="durable"):
            gone.about(rest)
