"""Plots: a few actions that lead up to one place where things went wrong, or nearly."""

from __future__ import annotations

from random import Random

from tests.path.chaos.actions import (
    KEEP_STEPS,
    LAKE_STEPS,
    Action,
    foreign,
    look,
    plain_frames,
    table_of,
    usurp,
    zombie,
)


def plot(random: Random, shards: int) -> list[Action]:
    """Return one of the plots."""
    return random.choice(PLOTS)(random, shards)


def announcement(random: Random, shards: int) -> list[Action]:
    """A process sleeps before it makes its shard known; its successor has gone far by then."""
    shard = random.randrange(shards)
    inside = [{"do": "succeed", "shard": shard}, *_filled(random, shard)]
    step = {"at": "shard.announce", "fault": "inside", "inside": inside}
    return [{"do": "write", "shard": shard, **step, "nth": random.randint(1, 5)}]


def merge_race(random: Random, shards: int) -> list[Action]:
    """Others change the table while files are merged."""
    table = table_of(random)
    step = random.choice(KEEP_STEPS["merge"])
    merge = {"do": "keep", "what": "merge", "dataset": table, "at": step, "fault": "inside"}
    return [*_history(random, shards), {**merge, "inside": _foreigners(random, table)}]


def expire_race(random: Random, shards: int) -> list[Action]:
    """Others go back to a snapshot while it is expired."""
    table = table_of(random)
    expire = {"do": "keep", "what": "expire", "dataset": table, "at": "upkeep.expire"}
    inside = _foreigners(random, table)[:1]
    return [*_history(random, shards), {**expire, "fault": "inside", "inside": inside}]


def commit_race(random: Random, shards: int) -> list[Action]:
    """Somebody else commits, or goes back, while a commit is under way."""
    step = {"at": random.choice(LAKE_STEPS), "fault": "inside", "nth": random.randint(1, 4)}
    inside = random.choice([[usurp(random, shards), {"do": "commit"}], _foreigners(random)])
    return [
        *_history(random, shards),
        *_filled(random, random.randrange(shards), commits=False),
        {"do": "commit", **step, "inside": inside},
    ]


def write_race(random: Random, shards: int) -> list[Action]:
    """A writer sleeps inside its transaction until its successor has written."""
    shard = random.randrange(shards)
    inside = [{"do": "succeed", "shard": shard}, {"do": "write", "shard": shard}]
    sleeper = {"do": "write", "shard": shard, "at": "hot.copy", "fault": "inside", "inside": inside}
    return [plain_frames(random, shards) | {"shard": shard}, sleeper, zombie(random, shards)]


def drop_race(random: Random, shards: int) -> list[Action]:
    """Days leave hot while late rows come, or while others take the lake back."""
    inside = random.choice([_foreigners(random), _filled(random, 0, commits=False)])
    step = {"at": "day.drop", "fault": "inside", "inside": inside, "nth": random.randint(1, 3)}
    return [*_history(random, shards), {"do": "drain"}, {"do": "drop", "days": 400, **step}]


def rollback(random: Random, shards: int) -> list[Action]:
    """Others go back, and everybody goes on."""
    return [*_history(random, shards), *_foreigners(random), look(random, shards)]


def power(random: Random, shards: int) -> list[Action]:
    """The power goes where bytes are written and not synced, and again while that is mended."""
    found: list[Action] = []
    for _ in range(random.randint(1, 3)):
        step = random.choice(["journal.fsync", "journal.fsync", "journal.segment"])
        found += [
            {**plain_frames(random, shards), "at": step, "fault": "crash", "nth": 1},
            {"do": random.choice(["cut", "kill"]), "seed": random.getrandbits(32)},
        ]
    return [{"what": "all", "shard": 0, **each} for each in found]


def _history(random: Random, shards: int) -> list[Action]:
    """Return some commits in a row."""
    rounds = [_filled(random, random.randrange(shards)) for _ in range(random.randint(2, 4))]
    return [action for each in rounds for action in each]


def _filled(random: Random, shard: int, *, commits: bool = True) -> list[Action]:
    filled: list[Action] = [
        plain_frames(random, 1) | {"shard": shard, "count": 4, "connection": 0},
        {"do": "write", "shard": shard},
    ]
    return [*filled, {"do": "commit"}] if commits else filled


def _foreigners(random: Random, table: str = "") -> list[Action]:
    action = foreign(random, 1)
    what = random.choice(["rollback", "rollback", "rollback-expire", "forward", "rewrite"])
    return [
        {**action, "what": what, "dataset": table or action["dataset"]},
        *random.choice([[], [{"do": "commit"}], [usurp(random, 1), {"do": "commit"}]]),
    ]


PLOTS = (merge_race, expire_race, commit_race, write_race, *[drop_race] * 4, rollback, power)
