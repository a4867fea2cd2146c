"""A seeded schedule: what happens to one lakehouse.

Each schedule draws its own weights first, so that some runs are all power cuts and others all
rollbacks (swarm testing). Every action carries its own seed: with actions left out, the others do
the same as before, which lets a failing schedule be shortened.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.path.chaos import actions as single
from tests.path.chaos.actions import Action
from tests.path.chaos.plots import announcement, plot

ACTIONS_MIN, ACTIONS_MAX = 4, 20
PLOTS_MAX = 3

MAKERS: list[tuple[Callable[[Random, int], Action], int]] = [
    (single.line, 2),
    (single.keep, 4),
    (single.own, 2),
    (single.zombie, 3),
    (single.foreign, 3),
    (single.drop, 2),
    (single.kill, 2),
    (single.cut, 2),
    (single.clock, 1),
    (single.drain, 3),
    (single.seal, 1),
    (single.look, 1),
]


def schedule(seed: int) -> list[Action]:
    """Return a seed's actions; the first says what there is at the start."""
    random = Random(seed)
    shards = 2 if random.random() < 0.2 else 1
    makers = [(maker, weight * random.choice([0, 1, 1, 3])) for maker, weight in MAKERS]
    makers += [(single.frames, 12), (single.write, 8), (single.commit, 8)]
    names = [maker for maker, _ in makers]
    weights = [weight for _, weight in makers]
    count = random.randint(ACTIONS_MIN, ACTIONS_MAX)
    actions = [maker(random, shards) for maker in random.choices(names, weights, k=count)]
    fresh = random.random() < 0.15
    for _ in range(random.randint(0, PLOTS_MAX)):
        at = random.randint(0, len(actions))
        actions[at:at] = plot(random, shards)
    if fresh:
        actions[:0] = announcement(random, shards)
    return [{"do": "start", "shards": shards, "fresh": fresh}, *actions]
