"""The single actions of a schedule, drawn at random; each is one JSON object.

`at` names a step and `fault` what happens there: crash, lost-answer, an errno, sever (the server
ends all sessions), or inside (others do the actions in `inside` before the step goes on).
"""

from __future__ import annotations

from random import Random
from typing import Any

from tests.path.chaos.place import DATASETS

Action = dict[str, Any]

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US

TABLES = (*DATASETS, *["crypto_trades"] * 3)
"""More often the one where most rows are."""

JOURNAL_STEPS = ("journal.write", "journal.fsync", "journal.published", "journal.segment")
JOURNAL_FAULTS = ("crash", "EIO", "ENOSPC")
HOT_STEPS = ("hot.copy", "hot.commit", "hot.committed")
HOT_FAULTS = ("crash", "lost-answer", "sever")
LAKE_STEPS = ("lake.parquet", "lake.manifest", "lake.pointer", "lake.committed")
LAKE_FAULTS = ("crash", "lost-answer", "sever", "ENOSPC", "EIO")
KEEP_STEPS = {
    "merge": ("upkeep.rewrite", "upkeep.commit"),
    "expire": ("upkeep.expire",),
    "remove": ("upkeep.remove",),
}


def frames(random: Random, shards: int) -> Action:
    action: Action = {
        "do": "frames",
        "shard": random.randrange(shards),
        "seed": random.getrandbits(32),
        "count": random.randint(1, 6),
        "flushes": random.randint(1, 2),
        "connection": random.choices([0, 1, -1], [8, 3, 1])[0],
    }
    if random.random() < 0.25:
        fault = random.choice(JOURNAL_FAULTS)
        step = random.choice(JOURNAL_STEPS if fault == "crash" else JOURNAL_STEPS[:2])
        action |= {"at": step, "fault": fault}
        if fault == "EIO":
            action["times"] = random.randint(1, 4)
    return action


def line(random: Random, shards: int) -> Action:
    return {
        "do": "line",
        "shard": random.randrange(shards),
        "what": random.choice(["gap", "fill"]),
        "connection": random.choice([0, 1]),
    }


def write(random: Random, shards: int) -> Action:
    action: Action = {"do": "write", "shard": random.randrange(shards)}
    if random.random() < 0.35:
        action |= {"at": random.choice(HOT_STEPS), "fault": random.choice(HOT_FAULTS)}
        if random.random() < 0.2:
            action |= {"at": "hot.copy", "fault": "inside", "inside": _beside(random, shards)}
        elif random.random() < 0.15:
            action |= {"at": "shard.announce", "fault": random.choice(["crash", "EIO", "inside"])}
            action["inside"] = [succeed(random, shards), *_on(random, shards)]
    return action


def commit(random: Random, shards: int) -> Action:
    action: Action = {"do": "commit"}
    if random.random() < 0.4:
        action |= {"at": random.choice(LAKE_STEPS), "fault": random.choice(LAKE_FAULTS)}
        action["nth"] = random.choice([1, 1, 2, 3])
        if random.random() < 0.4:
            action |= {"fault": "inside", "inside": _beside(random, shards)}
    return action


def keep(random: Random, shards: int) -> Action:
    what = random.choice(["merge", "merge", "merge", "expire", "expire", "remove"])
    action: Action = {"do": "keep", "what": what, "dataset": random.choice(TABLES)}
    if random.random() < 0.4:
        action |= {"at": random.choice(KEEP_STEPS[what])}
        action |= {"fault": random.choice(["crash", "lost-answer", "sever", "ENOSPC"])}
        if random.random() < 0.6:
            action |= {"fault": "inside", "inside": _beside(random, shards)}
    return action


def own(random: Random, shards: int) -> Action:
    return random.choice([succeed, usurp])(random, shards)


def zombie(random: Random, shards: int) -> Action:
    what = random.choice(["step", "step", "merge", "expire"])
    return {"do": "zombie", "n": random.randrange(8), "what": what, "dataset": table_of(random)}


def foreign(random: Random, shards: int) -> Action:
    what = random.choices(
        ["rollback", "rollback-expire", "forward", "properties", "tag", "rewrite"],
        [6, 2, 2, 3, 2, 1],
    )[0]
    return {"do": "foreign", "what": what, "dataset": table_of(random), "n": random.randrange(6)}


def drop(random: Random, shards: int) -> Action:
    action: Action = {"do": "drop", "days": random.choice([0, 400, 400, 400])}
    if random.random() < 0.4:
        action |= {"at": "day.drop", "fault": random.choice(["crash", "sever", "inside"])}
        action["inside"] = _beside(random, shards)
    return action


def kill(random: Random, shards: int) -> Action:
    return {
        "do": "kill",
        "what": random.choice(["mover", "socket", "all"]),
        "shard": random.randrange(shards),
    }


def cut(random: Random, shards: int) -> Action:
    return {"do": random.choice(["cut", "cut", "pages"]), "seed": random.getrandbits(32)}


def clock(random: Random, shards: int) -> Action:
    step_us = random.choice([-3_600 * SECOND_US, -SECOND_US, SECOND_US, 3_600 * SECOND_US, DAY_US])
    return {"do": "clock", "us": step_us}


def drain(random: Random, shards: int) -> Action:
    return {"do": "drain"}


def seal(random: Random, shards: int) -> Action:
    return {"do": "seal"}


def look(random: Random, shards: int) -> Action:
    return {"do": "look"}


def table_of(random: Random) -> str:
    return random.choice(TABLES)


def succeed(random: Random, shards: int) -> Action:
    return {"do": "succeed", "shard": random.randrange(shards)}


def usurp(random: Random, shards: int) -> Action:
    return {"do": "usurp"}


def _on(random: Random, shards: int) -> list[Action]:
    plain: list[Action] = [{"do": "write", "shard": random.randrange(shards)}, {"do": "commit"}]
    return plain[: random.randint(1, 2)]


def _beside(random: Random, shards: int) -> list[Action]:
    """Return what others do while a step waits."""
    first = random.choice([succeed, usurp, usurp, foreign, foreign, plain_frames])
    return [first(random, shards), *_on(random, shards)]


def plain_frames(random: Random, shards: int) -> Action:
    action = frames(random, shards)
    return {key: action[key] for key in action if key not in ("at", "fault", "times")}
