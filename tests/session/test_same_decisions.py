"""Issue 7, part 7: live, replayed and from the lake, a session comes to the same orders."""

from __future__ import annotations

import random
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from feature_repo.trading.limits import DAY_US
from lake.errors import Fenced, Unavailable
from lake.ingest import control
from lake.journal.segment import segments
from lake.views.client import Client
from serving.session.opening import opened
from serving.session.orders import first_difference, orders_of_ledger
from serving.session.replay import (
    frames_of_day,
    has_journal,
    orders_of_day,
    orders_of_journal,
    orders_of_lake,
    shards_of_day,
)
from serving.streams import keys
from tests.path.lakehouse import Lakehouse
from tests.session.market import FEED, NOON_US, market
from tests.session.world import World


def test_live_replay_and_lake_come_to_the_same_orders(
    tmp_path: Path, migrated_dsn: str, client: Redis
) -> None:
    """Ticks out of order and twice, frames that the stream lacks, a kill, a death in between."""
    shard = 0  # the mover's
    client.delete(*(each(shard) for each in (keys.frames, keys.durable, keys.starts)))
    world = World(tmp_path, migrated_dsn, client, market(11, 900, step_us=300_000), shard=shard)
    record = control.dump(control.Up(0, NOON_US))
    world.ingest.journal.append(FEED, 0, [record], [NOON_US], control=True)
    world.ingest.sync()
    world.turn()
    chance = random.Random(11)
    while world.at < len(world.market.raw):
        world.send(chance.randint(1, 9), published=chance.random() < 0.9)
        world.ingest.sync()
        world.turn()
        if 300 < world.at < 320:
            world.drop()
        if 500 < world.at < 520 and not world.kill.state().killed:
            world.kill.throw("test", "stop")
        if world.at > 560 and world.kill.state().killed:
            world.kill.release("test", "go on")
    world.finish()
    assert world.check() > 5
    house = Lakehouse(migrated_dsn, tmp_path)
    assert house.move() == 0
    (logged,) = world.sessions()
    assert {"open", "kill", "free"} <= {each.kind for each in logged.words}
    replayed = orders_of_journal(tmp_path, logged)
    with Client(migrated_dsn, house.place) as lake:
        lake.refresh()
        from_lake = orders_of_lake(tmp_path, logged, lake)
    assert first_difference(replayed, from_lake) is None
    with psycopg.connect(migrated_dsn) as connection:
        written = orders_of_ledger(connection, logged.start.session)
    assert written.digest() == replayed.digest() == from_lake.digest()
    world.close()
    is_decided_from_the_lake_alone(world, house)


def is_decided_from_the_lake_alone(world: World, house: Lakehouse) -> None:
    """Decide a session whose journal is gone, and a day as if there had been none."""
    (logged,) = world.sessions()
    assert has_journal(world.folder, logged)
    for each in segments(world.ingest.folder):
        each.path.unlink()
    assert not has_journal(world.folder, logged)
    with Client(world.dsn, house.place) as lake:
        lake.refresh()
        day_us = NOON_US // DAY_US * DAY_US
        assert shards_of_day(lake, day_us) == [0]
        assert shards_of_day(lake, day_us - DAY_US) == []
        first, last = frames_of_day(lake, 0, day_us)
        assert logged.start.first_frame <= first < last <= world.at + 1
        as_if = [orders_of_day(world.folder, world.plan, 0, day_us, lake) for _ in range(2)]
    assert as_if[0].digest() == as_if[1].digest()
    assert len(as_if[0]) > 5


def test_one_process_trades_for_an_account_and_one_that_lost_its_turn_writes_no_more(
    tmp_path: Path, migrated_dsn: str, client: Redis
) -> None:
    world = World(tmp_path, migrated_dsn, client, market(1, 300, step_us=200_000))
    world.turn()
    assert world.live is not None
    with pytest.raises(Fenced, match="leads"):
        opened(world.parts())
    while not world.live._waiting:
        world.send(5)
        world.live.turn(1)
    with psycopg.connect(migrated_dsn, autocommit=True) as owner:
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    world.ingest.sync()
    asleep = world.live
    with opened(world.parts()) as other:
        assert other.session.start.session == asleep.session.start.session
        for _ in range(2):
            with pytest.raises((Unavailable, Fenced)):
                asleep.turn(1)
    with pytest.raises(Fenced, match="another goes on"):
        asleep._log("kill", NOON_US)
    world.drop()
    world.finish()
    world.check()
    world.close()
