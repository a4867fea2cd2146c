"""A session whose ingest, journal or model is gone takes its orders back, and trading goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from redis import Redis

from feature_repo.trading.market import Row
from lake.errors import Unavailable
from lake.journal.segment import segments
from serving.session.models import ModelGone
from serving.session.opening import opened
from serving.session.play import kept_from, recalled
from serving.session.turns import run_session
from serving.streams.connect import connected
from tests.session.market import market
from tests.session.world import World, orders_by_state

WORKING = ("created", "accepted", "amended", "partially_filled")
RESTS = "mean-reversion"


@pytest.fixture
def client(valkey_url: str) -> Iterator[Redis]:
    client = connected(valkey_url, wait_s=5.0)
    yield client
    client.close()


def working(world: World) -> int:
    """Return how many orders work, as the ledger has them."""
    states = [orders_by_state(world.dsn, account) for account in world.plan.strategies]
    return sum(each.get(kind, 0) for each in states for kind in WORKING)


def traded(world: World, frames: int = 900) -> None:
    """Let a session trade until an order works, and its frames are on the disk."""
    while world.at < frames and not (working(world) and world.live and not world.live._waiting):
        world.send(5)
        world.ingest.sync()
        world.turn()
    assert working(world)


def test_a_kill_is_not_held_up_by_frames_that_never_come_to_the_disk(
    tmp_path: Path, migrated_dsn: str, client: Redis
) -> None:
    world = World(tmp_path, migrated_dsn, client, market(2, 900, step_us=200_000))
    traded(world)
    world.send(3)  # seen, and the ingest is gone before they are on the disk
    world.turn()
    world.kill.throw("a test", "stop")
    for _ in range(20):
        world.turn()
        world.clock.advance(100_000)
    assert working(world) == 0
    world.ingest.sync()
    world.finish()
    world.check()
    world.close()


def test_a_journal_that_is_sealed_away_closes_its_session_and_a_new_one_begins(
    tmp_path: Path, migrated_dsn: str, client: Redis
) -> None:
    world = World(tmp_path, migrated_dsn, client, market(2, 3_000, step_us=200_000))
    traded(world)
    world.drop()
    while len(segments(world.ingest.folder)) < 3:
        world.send(100, published=False)
        world.ingest.sync()
    for each in segments(world.ingest.folder)[:-1]:
        each.path.unlink()
    recalled(world.ingest.folder, world.shard, kept_from(world.ingest.folder) + 1)
    with pytest.raises(Unavailable, match="its journal is gone"):
        opened(world.parts())
    assert working(world) == 0
    with opened(world.parts()) as found:
        assert not found.is_over
    assert len(world.sessions()) == 2
    world.close()


class Gone:
    """Models of which a version is no more."""

    def newest(self) -> str:
        return "direction/7"

    def use(self, version: str) -> None:
        if version:
            raise Unavailable(f"version {version}", "is damaged", "train it again")

    def say(self, features: pa.Table) -> Sequence[Row]:
        return ()


def test_a_session_whose_model_is_gone_is_given_up_on_demand(
    tmp_path: Path, migrated_dsn: str, client: Redis
) -> None:
    world = World(tmp_path, migrated_dsn, client, market(2, 900, step_us=200_000))
    traded(world)
    world.drop()
    world.models = Gone()
    with pytest.raises(ModelGone), opened(world.parts()) as found:
        found.say("model", version="direction/7")
    for forsake in ("", "its model is gone"):
        with pytest.raises(Unavailable) as refused:
            run_session(world.parts(), None, lambda: True, forsake)
        assert ("was closed" in str(refused.value)) is bool(forsake)
    assert working(world) == 0
    with psycopg.connect(migrated_dsn) as connection:
        closed = "SELECT count(*) FROM market.live_sessions WHERE word = 'closed'"
        assert connection.execute(closed.encode()).fetchone() == (1,)
    world.close()
