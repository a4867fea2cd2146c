"""Desks over a ledger of the tests, with a market, a kill switch and venues that a test moves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg

from feature_repo.ledger.event_rows import CHAINS
from feature_repo.ledger.verify import chain_faults
from feature_repo.trading.costs import Costs
from feature_repo.trading.market import Instrument, Quote, Trade
from feature_repo.trading.money import UNIT
from feature_repo.trading.order import Kind, Order, Side
from infra.servers.process import wait_until
from lake.clock import Clock, ManualClock, SystemClock
from lake.errors import Unavailable
from serving.desk.book import LedgerBook
from serving.desk.desk import LedgerDesk
from serving.desk.lead import DeskParts, DeskRules
from serving.desk.market import Rest, Told
from serving.desk.venue import PaperVenue, Venue
from serving.risk.limits import RiskLimits
from serving.streams.durable_watch import Answer
from serving.streams.keys import Place

BTC = Instrument("X:BTCUSD", "coinbase", "spot")
ETH = Instrument("X:ETHUSD", "coinbase", "spot")
CODE = "code-of-tests"
CASH = 1_000_000 * UNIT
COSTS = Costs(maker=0, taker=1_000, latency_us=5_000)
LIMITS = RiskLimits(orders=None, duplicate_us=None)
WAIT_S_MAX = 60.0
REAL = SystemClock()
NAMES = itertools.count()
START_US = 1_780_000_000_000_000


class Prices:
    """A Market that a test moves; each telling is a frame of its own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[Instrument, Told] = {}
        self._heard_us: dict[Instrument, int] = {}
        self.frame = 0
        self.usual: int | None = None

    def told(self, instrument: Instrument) -> Told | None:
        told = self._told.get(instrument)
        if told is None:
            return None
        ago_us = self._clock.monotonic_us() - self._heard_us[instrument]
        return told._replace(trade_heard_us=ago_us, quote_heard_us=ago_us)

    def tell(self, price: int, size: int = 3, instrument: Instrument = BTC) -> None:
        """Tell of a trade at a price, and of a quote half a unit around it."""
        self.frame += 1
        now_us, half = self._clock.now_us(), UNIT // 2
        rest = Rest(3, (Place(1, self.frame),))
        trade = Trade(instrument, now_us, now_us, price * UNIT, size * UNIT)
        sides = price * UNIT - half, size * UNIT, price * UNIT + half, size * UNIT
        quote = Quote(instrument, now_us, now_us, *sides)
        self._told[instrument] = Told(trade, rest, quote, rest, self.usual)
        self._heard_us[instrument] = self._clock.monotonic_us()

    def cross(self, price: int, instrument: Instrument = BTC) -> None:
        """Tell of the same trade, and of a bid above the ask."""
        self.tell(price, instrument=instrument)
        told = self._told[instrument]
        assert told.quote is not None
        turned = told.quote._replace(bid=told.quote.ask, ask=told.quote.bid)
        self._told[instrument] = told._replace(quote=turned)


@dataclass
class Durable:
    """Rests as a test says: frames up to `upto` are durable, those named are void."""

    clock: ManualClock | None = None
    upto: int = 10**9
    void: set[int] = field(default_factory=set)
    on_wait: Callable[[], None] = lambda: None
    on_look: Callable[[], None] = lambda: None

    def about(self, rest: Rest | None, wait_ms: int = 0) -> Answer:
        self.on_look()
        if wait_ms:
            self.on_wait()
            if self.clock is not None:
                self.clock.advance(wait_ms * 1_000)
        if rest is None or any(each.frame in self.void for each in rest.frames):
            return "void"
        return "durable" if all(each.frame <= self.upto for each in rest.frames) else "waiting"


@dataclass
class World:
    """What desks of one account stand on, one after another."""

    dsn: str
    clock: Any = field(default_factory=lambda: ManualClock(START_US))
    account: str = field(default_factory=lambda: f"paper-{next(NAMES)}")
    limits: RiskLimits = LIMITS
    stopped: bool = False

    def __post_init__(self) -> None:
        self.prices = Prices(self.clock)
        self.rests = Durable(self.clock if isinstance(self.clock, ManualClock) else None)
        self.book = LedgerBook(self.dsn, self.clock, self.prices)

    def paper(self) -> Venue:
        return PaperVenue(COSTS, self.prices, self.rests, self.limits.spike)

    def desk(self, venue: Callable[[], Venue] | None = None) -> LedgerDesk:
        """Return a desk that has not tried to lead."""
        parts = DeskParts(
            *(self.dsn, self.clock, self.prices, self.rests),
            lambda: self.stopped,
            venue or self.paper,
            CODE,
        )
        return LedgerDesk(parts, DeskRules(self.account, CASH, self.limits, cancel_s=0.0))

    def led(self, venue: Callable[[], Venue] | None = None) -> LedgerDesk:
        """Return a desk that leads."""
        desk = self.desk(venue)
        self.leads(desk)
        return desk

    def leads(self, desk: LedgerDesk) -> None:
        """Let a desk take the lead, as soon as nobody else has it."""
        assert until(lambda: self._tried(desk))

    def _tried(self, desk: LedgerDesk) -> bool:
        self.clock.sleep(1.01)
        with suppress(Unavailable):
            desk.turn()
        return desk.leads

    def turns(self, desk: LedgerDesk, count: int = 3) -> None:
        """Let time and the desk go on."""
        for _ in range(count):
            self.clock.sleep(0.02)
            desk.turn()

    def state(self, name: str) -> str:
        """Return where an order stands, by its client order id; "" for none."""
        found = self.book.orders(self.account, 1_000)
        return next((r["current_state"] for r in found if r["client_order_id"] == name), "")

    def kinds(self, name: str) -> list[str]:
        """Return the types of an order's events."""
        found = next(
            row for row in self.book.orders(self.account, 1_000) if row["client_order_id"] == name
        )
        return [each["event_type"] for each in self.book.events(found["order_id"], 100)]


def order(
    name: str,
    side: Side = "buy",
    size: int = UNIT,
    kind: Kind = "market",
    price: int | None = None,
    **flags: bool,
) -> Order:
    at = None if price is None else price * UNIT
    return Order(BTC, side, size, kind, at, client_id=name, **flags)


def placed(world: World, desk: LedgerDesk, name: str, **more: Any) -> None:
    """Place an order that is new."""
    assert desk.place(world.account, order(name, **more), "ann").is_new


def until(holds: Callable[[], bool]) -> bool:
    """Wait in real time, as long as a busy machine takes."""
    return wait_until(REAL, holds, WAIT_S_MAX)


def end_sessions(dsn: str) -> None:
    """End every session of a database but this one, as the death of their processes would."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )


def faults_of(dsn: str) -> list[str]:
    """Return what is wrong with the chains."""
    return [fault for chain in CHAINS for fault in chain_faults(dsn, chain)]


def names_of(rows: Iterable[Any]) -> list[str]:
    return [row["client_order_id"] for row in rows]
