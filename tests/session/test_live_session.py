"""A live session on real servers: whoever dies, the ledger has the orders of its replay, once."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from redis import Redis

from serving.streams import keys
from tests.session.market import NOON_US, market
from tests.session.world import World

SEEDS = int(os.environ.get("TICKLAKE_TEST_SESSION_SEEDS", "8"))
FIRST_SEED = int(os.environ.get("TICKLAKE_TEST_SESSION_FIRST", "0"))


def test_the_ledger_has_what_a_replay_decides(
    tmp_path: Path, migrated_dsn: str, client: Redis
) -> None:
    world = World(tmp_path, migrated_dsn, client, market(1, 900, step_us=200_000))
    world.turn()
    while world.at < len(world.market.raw):
        world.send(7)
        world.ingest.sync()
        world.turn()
    world.finish()
    (logged,) = world.sessions()
    assert world.check() > 5
    assert logged.start.first_frame == 1
    world.close()


def test_nothing_goes_to_the_ledger_before_its_frames_are_on_the_disk(
    tmp_path: Path, migrated_dsn: str, client: Redis
) -> None:
    world = World(tmp_path, migrated_dsn, client, market(1, 900, step_us=200_000))
    world.turn()
    while not (world.live and world.live._waiting):
        world.send(5)
        world.turn()
    for _ in range(5):
        world.turn()
    assert world.live._waiting
    wanted = client.get(keys.wanted(world.shard, 1))
    assert wanted is not None, "ingest is asked to hurry"
    world.ingest.sync()
    world.turn()
    assert not world.live._waiting
    world.finish()
    assert world.check() > 0
    world.close()


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_no_order_is_lost_or_doubled_whatever_happens(
    seed: int, tmp_path: Path, migrated_dsn: str, client: Redis
) -> None:
    world = World(tmp_path, migrated_dsn, client, market(seed, 400, step_us=300_000))
    chance = random.Random(seed)
    world.turn()
    while world.at < len(world.market.raw):
        step(world, chance)
    world.finish()
    world.check()
    world.close()


def step(world: World, chance: random.Random) -> None:
    """Do one thing of many."""
    (what,) = chance.choices(list(STEPS), list(STEPS.values()))
    what(world, chance)
    world.turn()


def send(world: World, chance: random.Random) -> None:
    world.send(chance.randint(1, 12), published=chance.random() < 0.95)


def sync(world: World, chance: random.Random) -> None:
    world.ingest.sync()


def wait(world: World, chance: random.Random) -> None:
    pass


def die_within(world: World, chance: random.Random) -> None:
    world.dies_in = chance.randint(1, 12)


def die_between(world: World, chance: random.Random) -> None:
    world.drop()


def ingest_dies(world: World, chance: random.Random) -> None:
    world.ingest.crash()


def redis_is_emptied(world: World, chance: random.Random) -> None:
    world.ingest.sync()
    emptied = (keys.frames, keys.durable, keys.starts, keys.aside)
    world.client.delete(*(each(world.shard) for each in emptied))


def clock_steps_back(world: World, chance: random.Random) -> None:
    world.clock.step(-chance.randint(1, 20) * 1_000_000)


def silence(world: World, chance: random.Random) -> None:
    world.clock.advance(chance.randint(1, 90) * 1_000_000)


def switch(world: World, chance: random.Random) -> None:
    turned = world.kill.release if world.kill.state().killed else world.kill.throw
    turned("test", "by chance")


def database_ends_it(world: World, chance: random.Random) -> None:
    world.cut_connections()


def rival_comes(world: World, chance: random.Random) -> None:
    world.rival()


STEPS = {
    send: 45,
    sync: 20,
    wait: 14,
    die_within: 5,
    die_between: 3,
    ingest_dies: 3,
    redis_is_emptied: 2,
    clock_steps_back: 2,
    silence: 3,
    switch: 3,
    database_ends_it: 2,
    rival_comes: 2,
}
"""What may happen, and how often."""


def test_a_day_that_ends_is_followed_by_the_next(
    tmp_path: Path, migrated_dsn: str, client: Redis
) -> None:
    midnight_us = NOON_US - NOON_US % 86_400_000_000 + 86_400_000_000
    found = market(5, 600, step_us=300_000, start_us=midnight_us - 100_000_000)
    world = World(tmp_path, migrated_dsn, client, found)
    world.clock.step(midnight_us - 101_000_000 - NOON_US)
    world.turn()
    while world.at < len(found.raw):
        world.send(9)
        world.ingest.sync()
        world.turn()
    world.finish()
    first, second = world.sessions()
    assert second.start.started_us == midnight_us
    assert second.start.openings != first.start.openings
    assert world.check() > 5
    world.close()
