"""Issue 7: the desk dies between any two of its steps, and comes back on the same ledger and venue.

Whatever happens, an order is there once, none that was heard of is lost, a refused one never
reaches the venue, the account is what its fills make of it, and the ledger verifies.
"""

from __future__ import annotations

import os
import random
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg
import pytest

from feature_repo.ledger.commands import order_id
from feature_repo.ledger.order_state import FILLS
from feature_repo.trading.account import Account
from feature_repo.trading.limits import Limits
from feature_repo.trading.money import UNIT
from feature_repo.trading.order import Fill, Order
from lake.errors import Refused, TicklakeError, Unavailable
from serving.desk.desk import LedgerDesk
from serving.desk.ledger_to_state import stood
from serving.desk.said import RiskRefused
from serving.desk.venue import Venue
from serving.risk.limits import RiskLimits
from tests.desk.desks import CASH, World, end_sessions, faults_of, order
from tests.desk.venues import BrittleVenue, Crash, Exchange, Fate, remote

SEEDS = int(os.environ.get("TICKLAKE_TEST_DESK_SEEDS", "6"))
FIRST_SEED = int(os.environ.get("TICKLAKE_TEST_DESK_FIRST", "0"))
ACTIONS = 40
CHANCE = 0.05
LIMITS = RiskLimits(Limits(size=4 * UNIT), orders=None, duplicate_us=None)


@dataclass
class Run:
    """One seed: what was asked, what was heard, what the venue saw."""

    seed: int
    world: World
    is_paper: bool
    asked: dict[str, Order] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)
    deaths: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.exchange = Exchange(self.world.prices)
        self.fate = Fate(self.random, CHANCE)
        self.world.rests.on_look = self.fate.step
        self.desk: LedgerDesk = self.world.desk(self.venue)

    def venue(self) -> Venue:
        inner = self.world.paper() if self.is_paper else remote(self.exchange)
        return BrittleVenue(inner, self.fate, self.seen)

    def seen(self, order: Order) -> None:
        """Note an order on its way to the venue: it must be durable by now."""
        state = self.world.book.state(order_id(self.world.account, order.client_id))
        assert state is not None, f"{order.client_id} goes out before it is durable"
        assert not self.world.stopped, f"{order.client_id} goes out while trading is stopped"
        self.sent.add(order.client_id)

    def die(self) -> None:
        """End the process: its sessions end, what it knew is gone."""
        self.deaths += 1
        end_sessions(self.world.dsn)
        self.desk.close()
        self.world.clock.sleep(self.random.choice((0.1, 10.0)))
        self.desk = self.world.desk(self.venue)
        self.world.prices.tell(100)

    def act(self) -> None:
        """Do one thing; whatever goes wrong is what a caller hears."""
        what = self.random.choices(
            (self.place, self.again, self.cancel, self.move, self.wait, self.stop, self.end),
            (8, 2, 3, 6, 6, 6 if self.world.stopped else 1, 1),
        )[0]
        try:
            with suppress(TicklakeError):
                what()
            self.world.clock.sleep(self.random.choice((0.02, 0.3)))
            with suppress(TicklakeError):
                self.desk.turn()
            if not self.desk.leads and self.random.random() < 0.6:
                self.world.leads(self.desk)
        except Crash:
            self.die()

    def place(self) -> None:
        name = f"o{len(self.asked)}"
        kind = self.random.choice(("market", "limit", "limit", "stop"))
        price = None if kind == "market" else self.random.randint(97, 103)
        size = self.random.randint(1, 5) * UNIT
        side = self.random.choice(("buy", "sell"))
        self.asked[name] = order(name, side, size, kind, price)  # type: ignore[arg-type]
        self.ask(name)

    def ask(self, name: str) -> None:
        self.world.prices.tell(100)
        wanted = self.asked[name]
        try:
            placed = self.desk.place(self.world.account, wanted, "ann")
        except RiskRefused:
            assert wanted.size > 4 * UNIT
            self.refused.add(name)
            return
        if wanted.size > 4 * UNIT:
            assert placed.order["current_state"] == "rejected"
        else:
            self.heard.add(name)

    def again(self) -> None:
        if self.asked:
            self.ask(self.random.choice(list(self.asked)))

    def cancel(self) -> None:
        if self.asked:
            name = self.random.choice(list(self.asked))
            self.desk.cancel(self.world.account, name, "ann")

    def move(self) -> None:
        self.world.prices.tell(self.random.randint(97, 103), self.random.randint(1, 3))

    def wait(self) -> None:
        self.world.clock.sleep(self.random.choice((0.1, 1.0, 3.0)))

    def stop(self) -> None:
        self.world.stopped = not self.world.stopped
        if self.world.stopped:
            self.desk.cancel_all("ann")
            with pytest.raises((Refused, Unavailable)):
                self.desk.place(self.world.account, order("never"), "ann")

    def end(self) -> None:
        """End the sessions alone: the process goes on, and must notice."""
        end_sessions(self.world.dsn)

    def settle(self) -> None:
        """Let a desk that does not die finish; then cancel what rests."""
        self.fate.chance = 0.0
        self.die()
        self.world.leads(self.desk)
        for price in (100, 103, 97, 100):
            self.world.prices.tell(price)
            self.world.turns(self.desk, 4)
        self.world.stopped = True
        for _ in range(8):
            self.world.prices.tell(100)
            self.world.turns(self.desk, 3)
        self.desk.close()

    def check(self) -> None:
        world = self.world
        rows = {row["client_order_id"]: row for row in world.book.orders(world.account, 1_000)}
        assert self.heard <= rows.keys() <= self.asked.keys()
        assert self.refused <= rows.keys()
        assert not self.sent & self.refused
        account = Account(CASH)
        for name, row in rows.items():
            wanted = self.asked[name]
            events = world.book.events(row["order_id"], 1_000)
            assert [each["sequence_number"] for each in events] == [*range(1, len(events) + 1)]
            fills = [each for each in events if each["event_type"] in FILLS]
            assert row["current_state"] in ("filled", "cancelled", "rejected"), row
            if wanted.size > 4 * UNIT:
                assert row["current_state"] == "rejected"
                assert name not in self.sent
            if not self.is_paper and name in self.exchange.orders:
                at_venue = [e for e in self.exchange.log[name] if isinstance(e, Fill)]
                assert len(at_venue) == len(fills)
            if name not in self.sent:
                assert self.is_paper or not fills
        for each in fills_of(world):
            account.apply(each)
        found = stood(world.dsn, world.account, world.clock, 0)
        assert not any(found.account.working.values())
        assert found.orders == []
        assert (found.account.cash, found.account.fees) == (account.cash, account.fees)
        assert found.account.positions == account.positions
        assert faults_of(world.dsn) == []


def fills_of(world: World) -> list[Fill]:
    """Return every fill in the order of the ledger."""
    query = """
        SELECT client_order_id, side, (price * 1e10)::bigint, (size * 1e10)::bigint,
            (fee * 1e10)::bigint
        FROM market.order_events WHERE account = %s AND event_type = ANY(%s) ORDER BY id
        """
    with psycopg.connect(world.dsn) as connection:
        rows = connection.execute(query, (world.account, list(FILLS))).fetchall()
    instrument = order("x").instrument
    return [
        Fill(name, instrument, 0, side, int(price), int(size), int(fee), False)
        for name, side, price, size, fee in rows
    ]


@pytest.mark.parametrize("is_paper", [True, False], ids=["paper", "exchange"])
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_no_order_twice_and_none_lost(ledger_dsn: str, seed: int, is_paper: bool) -> None:
    world = World(ledger_dsn, limits=LIMITS)
    world.clock.advance(seed * 1_000_000_000)
    world.prices.tell(100)
    run = Run(seed, world, is_paper)
    try:
        for _ in range(ACTIONS):
            run.act()
        run.settle()
        run.check()
    finally:
        run.desk.close()
        world.book.close()
