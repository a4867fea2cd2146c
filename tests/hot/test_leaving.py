"""A day leaves beside writers and readers: neither waits long, and no reader misses a row."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from infra.servers.process import wait_until
from lake.clock import SystemClock
from lake.errors import Unavailable
from lake.hot.hot_tier import HotBatch, HotTier
from lake.hot.lease import Lease, shard_lease, take
from lake.hot.partitions import DROP_LOCK_TIMEOUT_MS, drop_partition, existing_partitions
from tests.hot.test_editions import DAY, NEXT, batch, written

WRITE_S_MAX = 1.0
"""A write takes milliseconds; a drop that waits for its lock may add DROP_LOCK_TIMEOUT_MS, and the
machine of a test run what it likes: in one of ROUNDS_MAX rounds it leaves the writer alone."""

DAYS = 6
ROWS = 200
LOOKS_MIN = 20
LOOKS_S_MAX = 60.0
ROUNDS_MAX = 4
TRIES_MAX = 200


def oldest(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def test_no_drop_stalls_a_writer_and_no_reader_misses_a_row(edition_dsn: str) -> None:
    """Old days go, with a long query in the way, while another day is written and read."""
    slowest_s: list[float] = []
    with psycopg.connect(edition_dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO market.shards (shard) VALUES (0)")
        lease = take(connection, shard_lease(0))
        assert lease is not None
        days = Days(edition_dsn, connection, lease)
        while len(slowest_s) < ROUNDS_MAX and min(slowest_s, default=math.inf) >= WRITE_S_MAX:
            slowest_s.append(days.go())
    assert min(slowest_s) < WRITE_S_MAX


@dataclass
class Days:
    """Old days that go while another is written to and read, round after round.

    frame: the last one that was given; old: so many of them are of an old day.
    """

    dsn: str
    connection: psycopg.Connection
    lease: Lease
    frame: int = 0
    old: int = 0

    def go(self) -> float:
        """Let old days go; return the seconds that a write beside them took at most."""
        old = [DAY - timedelta(days=n) for n in range(DAYS)]
        hot = written(self.dsn, self.connection, self.lease, *map(self._of_old, old))
        written(self.dsn, self.connection, self.lease, self._of_next(1)).close()
        stop, slowest, faults = threading.Event(), [0.0], []
        looks: list[int] = []

        def write() -> None:
            while not stop.is_set():
                begun = time.monotonic()
                hot.write(self._of_next(20), self.lease)
                slowest[0] = max(slowest[0], time.monotonic() - begun)

        def read() -> None:
            with psycopg.connect(self.dsn, autocommit=True) as reader:
                while not stop.is_set():
                    row = reader.execute(
                        "SELECT count(*), max(seq >> 16) FROM market.crypto_trades"
                        " WHERE event_time >= %s",
                        (oldest(NEXT),),
                    ).fetchone()
                    assert row is not None
                    if row[0] != row[1] - self.old:
                        faults.append(row)
                    looks.append(row[0])

        threads = [threading.Thread(target=write), threading.Thread(target=read)]
        for thread in threads:
            thread.start()
        try:
            assert wait_until(SystemClock(), lambda: bool(looks), LOOKS_S_MAX)
            _drop_beside_a_long_query(self.dsn, self.connection, old)
            assert wait_until(SystemClock(), lambda: len(looks) >= LOOKS_MIN, LOOKS_S_MAX)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            hot.close()
        assert faults == []
        assert looks == sorted(looks)
        return slowest[0]

    def _of_old(self, day: date) -> HotBatch:
        self.old += ROWS
        return self._batch(ROWS, day)

    def _of_next(self, rows: int) -> HotBatch:
        return self._batch(rows, NEXT)

    def _batch(self, rows: int, day: date) -> HotBatch:
        first, self.frame = self.frame, self.frame + rows
        return batch(first, self.frame, day)


def _drop_beside_a_long_query(dsn: str, connection: psycopg.Connection, old: list[date]) -> None:
    """Try while a query holds the days, then drop them all."""
    with psycopg.connect(dsn) as reader, reader.cursor("long") as cursor:
        cursor.execute(
            "SELECT seq FROM market.crypto_trades WHERE event_time < %s", (oldest(NEXT),)
        )
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="in use"):
            drop_partition(connection, "crypto_trades", old[0])
        # it gives up: what is in its way would keep it for as long as it waits
        assert time.monotonic() - begun < 100 * DROP_LOCK_TIMEOUT_MS / 1e3
        assert len(cursor.fetchall()) == DAYS * ROWS
    for day in old:
        for _ in range(TRIES_MAX):
            try:
                assert drop_partition(connection, "crypto_trades", day)
                break
            except Unavailable:
                continue
    assert list(existing_partitions(connection, "crypto_trades")) == [NEXT]


def test_a_writer_goes_on_when_the_day_it_writes_to_is_dropped(edition_dsn: str) -> None:
    """Its write fails or makes the day anew; nothing is half there, and the next one is whole."""
    with psycopg.connect(edition_dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO market.shards (shard) VALUES (0)")
        lease = take(connection, shard_lease(0))
        assert lease is not None
        hot: HotTier = written(edition_dsn, connection, lease, batch(0, ROWS))
        frame, dropped = ROWS, 0
        for _ in range(5):
            assert drop_partition(connection, "crypto_trades", DAY)
            dropped = frame
            written(edition_dsn, connection, lease, batch(frame, frame + ROWS)).close()
            frame += ROWS
        hot.close()
        row = connection.execute(
            "SELECT count(*), min(seq >> 16) FROM market.crypto_trades"
        ).fetchone()
    assert row == (ROWS, dropped + 1)
