"""Sessions of several shards share an account: what one spends, no other has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psycopg
from redis import Redis

from feature_repo.ledger.event_rows import cash_of
from feature_repo.trading.account import Account
from feature_repo.trading.limits import Limits
from feature_repo.trading.market import Instrument, Trade
from feature_repo.trading.money import UNIT
from feature_repo.trading.order import Order
from serving.risk.limits import RiskLimits
from serving.risk.prices import Prices
from serving.session.gate import Gate
from serving.session.session import Session
from tests.session.market import PLAN, market
from tests.session.world import World

HALF = replace(PLAN, share=500_000)
BTC, ETH = (Instrument(name, "sim", "spot") for name in ("X:BTCUSD", "X:ETHUSD"))


def cash_here(world: World) -> dict[str, int]:
    assert world.live is not None
    session: Session = world.live.session
    seats = zip(session.start.plan.strategies, session._seats, strict=True)
    return {name: seat.account.cash for name, seat in seats}


def trades(world: World, frames: int) -> None:
    """Let a world's session take so many frames, and have all of it in the ledger."""
    upto = world.at + frames
    while world.at < upto:
        world.send(4)  # more at once would be late
        world.ingest.sync()
        world.turn()
    world.turn()
    assert world.live is not None
    assert not world.live._waiting


def test_the_cash_of_an_account_is_there_once_however_often_its_sessions_begin(
    tmp_path: Path, migrated_dsn: str, client: Redis
) -> None:
    one, other = (
        World(tmp_path / str(n), migrated_dsn, client, market(5 + n, 60, step_us=1_000_000), HALF)
        for n in range(2)
    )
    for each in (one, other):
        each.turn()
        assert cash_here(each) == dict.fromkeys(PLAN.strategies, PLAN.cash // 2)
    third = World(tmp_path / "2", migrated_dsn, client, market(7, 1), HALF)
    third.turn()
    assert third.met == {"is held by sessions of other shards, which have another share of it": 1}
    for each in (one, other):
        trades(each, 48)
    assert one.live is not None
    one.live.end("begun anew")
    one.drop()
    before = cash_here(other)
    one.turn()
    here = cash_here(one)
    with psycopg.connect(migrated_dsn) as connection:
        whole = cash_of(connection, list(PLAN.strategies))
    for name in PLAN.strategies:
        assert here[name] + before[name] == whole[name]
    assert here != dict.fromkeys(PLAN.strategies, PLAN.cash // 2)
    opening = one.live.session.start.openings
    held = {name: set(each.held) for name, each in opening.items()}
    assert any(held.values())
    assert all(each.elsewhere <= held[name] for name, each in opening.items())
    for each in (one, other):
        each.finish()
        assert each.check() > 0
    for each in (one, other, third):
        each.close()


def test_a_share_is_of_what_holds_for_the_whole_account() -> None:
    limits = RiskLimits(
        Limits(size=8, exposure=80, daily_loss=90), position=7, total_exposure=101, orders=3
    )
    here = replace(PLAN, limits=limits, share=250_000).limits_here
    order = Limits(size=8, exposure=80, daily_loss=22)
    assert here == replace(limits, order=order, total_exposure=25, orders=1)
    assert replace(PLAN, limits=limits).limits_here == limits


def test_what_another_shard_holds_counts_there_until_its_prices_come_here() -> None:
    limits = RiskLimits(total_exposure=150 * UNIT, duplicate_us=None)
    prices, account = Prices(), Account(0)
    account.positions[ETH] = account.costs[ETH] = account.marks[ETH] = 10 * UNIT  # worth 100
    gate = Gate(limits, prices, frozenset([ETH]))
    prices.take(Trade(BTC, 1, 1, 100 * UNIT, UNIT))
    gate.at(1, account)
    order = Order(BTC, "buy", UNIT, client_id="a")
    assert gate.refusal(order, account) == ""
    prices.take(Trade(ETH, 1, 1, 10 * UNIT, UNIT))
    assert gate.refusal(replace(order, client_id="b"), account).startswith("total_exposure: ")
