"""What a session begins with, where frames come while that is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from redis import Redis

from lake.views.client import Client
from serving.live.pieces import times_us
from serving.session import warm
from serving.session.minutes import GRACE_US
from serving.session.opening import opened
from serving.session.parts import Parts
from serving.session.play import recalled, rows_of_journal
from serving.session.rows_to_events import TRADES
from tests.session.market import MINUTE_US, market
from tests.session.world import World

BEFORE, MEANWHILE = 300, 120
"""Frames; a minute ends among the latter."""


class Busy(Client):
    """Reads a lake beside an ingest: frames come as it looks for the first time."""

    def __init__(self, dsn: str, meanwhile: Callable[[], None]) -> None:
        super().__init__(dsn)
        self._meanwhile: Callable[[], None] | None = meanwhile

    def refresh(self) -> bool:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().refresh()


@pytest.fixture
def world(tmp_path: Path, migrated_dsn: str, client: Redis) -> Iterator[World]:
    made = World(tmp_path, migrated_dsn, client, market(5, 500))
    receive(made, BEFORE)
    yield made
    made.close()


def receive(world: World, frames: int) -> None:
    world.send(frames)
    world.ingest.sync()


def beside_ingest(world: World) -> Parts:
    def lake() -> Client:
        return Busy(world.dsn, lambda: receive(world, MEANWHILE))

    return replace(world.parts(), lake=lake)


def trades_of(world: World, through: int) -> pa.Table:
    """Return the trades of the journal through a frame, each once."""
    folder = world.ingest.folder
    rows = rows_of_journal(folder, world.shard, recalled(folder, world.shard, 1))
    return pa.concat_tables(found[TRADES] for found in rows(1, through) if TRADES in found)


def waiting_of(trades: pa.Table, closed_us: int) -> list[int]:
    """Return the places of those that belong in no closed minute."""
    places = zip(trades["seq"].to_pylist(), times_us(trades).to_pylist(), strict=True)
    return sorted(seq for seq, at_us in places if at_us >= closed_us)


def test_what_comes_while_the_warm_up_is_read_is_in_it_once_and_the_session_begins_after(
    world: World,
) -> None:
    since_us = (world.clock.now_us() - GRACE_US) // MINUTE_US * MINUTE_US
    with opened(beside_ingest(world)) as found:
        start = found.session.start
        assert found.through == start.first_frame - 1 == BEFORE + MEANWHILE
        assert start.started_us == world.clock.now_us()
        known = warm.read(world.folder, start.warm)
    assert known.closed_us == (start.started_us - GRACE_US) // MINUTE_US * MINUTE_US
    trades = trades_of(world, BEFORE + MEANWHILE)
    assert sorted(known.waiting["seq"].to_pylist()) == waiting_of(trades, known.closed_us) != []
    closed = Counter(
        at_us // MINUTE_US
        for at_us in times_us(trades).to_pylist()
        if since_us <= at_us < known.closed_us
    )
    made: Counter[int] = Counter()
    counts = zip(times_us(known.bars).to_pylist(), known.bars["trades"].to_pylist(), strict=True)
    for at_us, count in counts:
        made[at_us // MINUTE_US] += count
    assert made == closed != Counter()


def test_a_session_that_follows_another_begins_where_that_one_ended(world: World) -> None:
    ended_at, ended_us = BEFORE - 50, world.clock.now_us()
    with opened(beside_ingest(world), (ended_at, ended_us)) as found:
        start = found.session.start
        assert (start.first_frame, start.started_us) == (ended_at + 1, ended_us)
        assert found.through == BEFORE + MEANWHILE, "the rest is taken as the session's own"
        known = warm.read(world.folder, start.warm)
    trades = trades_of(world, ended_at)
    assert sorted(known.waiting["seq"].to_pylist()) == waiting_of(trades, known.closed_us)
