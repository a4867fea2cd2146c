"""A day's loss is of the account and its day: no session that begins forgives it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from feature_repo.trading.limits import DAY_US, Limits
from feature_repo.trading.money import UNIT
from serving.live.once import Once
from serving.risk.limits import RiskLimits
from serving.session.plan import Opening, Plan, Start, start_of
from serving.session.session import Decided, Session
from tests.session.market import FEED, NOON_US, PLAN, market, start
from tests.session.world import World

LOSS = RiskLimits(Limits(daily_loss=50 * UNIT))
HELD = Plan({"buy-and-hold": {"size": "1"}}, PLAN.cash, PLAN.costs, LOSS)


def refusals(given: Start) -> list[str]:
    with Session(given) as session:
        session.take(Once(exact=True).take([(FEED, market(3).frames())]).tables)
        return [each.said.refusal for each in session.drain() if isinstance(each.said, Decided)]


@pytest.mark.parametrize(("lost", "is_refused"), [(None, False), (40, False), (60, True)])
def test_what_was_lost_before_a_session_counts_in_it(lost: int | None, is_refused: bool) -> None:
    began = None if lost is None else HELD.cash + lost * UNIT
    given = replace(start(HELD), openings={"buy-and-hold": Opening(HELD.cash, began=began)})
    said = refusals(given)
    assert said[0].startswith("daily_loss: ") == is_refused
    assert refusals(start_of(given.session, given.document())) == said


def test_an_opening_of_before_says_nothing_of_its_day() -> None:
    document = start(HELD).document()
    del document["openings"]["buy-and-hold"]["began"]
    assert start_of("s", document).openings["buy-and-hold"].began is None


def opened(world: World) -> dict[str, Opening]:
    world.turn()
    assert world.live is not None
    return dict(world.live.session.start.openings)


def ended(world: World, why: str) -> None:
    assert world.live is not None
    world.live.end(why)
    world.drop()


def test_a_session_that_begins_anew_has_lost_what_its_day_has(
    tmp_path: Path, migrated_dsn: str, client: Redis
) -> None:
    world = World(tmp_path, migrated_dsn, client, market(5, 60, step_us=1_000_000))
    assert {each.began for each in opened(world).values()} == {PLAN.cash}
    while world.at < 48:
        world.send(4)
        world.ingest.sync()
        world.turn()
    ended(world, "begun anew")
    again = opened(world)
    assert {each.began for each in again.values()} == {PLAN.cash}
    assert any(each.worth != PLAN.cash for each in again.values())
    ended(world, "another share")
    world.plan = replace(PLAN, share=500_000)
    for name, each in opened(world).items():
        assert each.began is not None
        lost = PLAN.cash - again[name].worth
        assert each.began - each.worth == lost // 2
    ended(world, "the day is over")
    world.plan = PLAN
    world.clock.step(DAY_US - NOON_US % DAY_US + 1)
    for each in opened(world).values():
        assert each.began == each.worth
    world.finish()
    assert world.check() > 0
    world.close()
