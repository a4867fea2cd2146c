"""Venues that remember, and brokers that die at a step of a test's choosing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from feature_repo.trading.costs import Costs
from feature_repo.trading.market import Instrument
from feature_repo.trading.order import Order
from lake.errors import Refused, Unavailable
from serving.broker.broker import Broker, BrokerReport
from serving.broker.paper_broker import PaperBroker
from serving.desk.market import Market
from serving.desk.venue import Again, RealVenue, Venue
from tests.desk.desks import COSTS


class Crash(BaseException):
    """The process is dead."""


@dataclass
class Fate:
    """Kills at a step, by chance."""

    random: random.Random
    chance: float

    def step(self) -> None:
        if self.random.random() < self.chance:
            raise Crash


class Exchange:
    """A venue with a memory of its own: what a broker asks for again is the same order."""

    def __init__(self, market: Market, costs: Costs = COSTS) -> None:
        self._market = market
        self._paper = PaperBroker(costs)
        self.orders: dict[str, Order] = {}
        self.log: dict[str, list[BrokerReport]] = {}

    def place(self, order: Order, now_us: int) -> None:
        self.orders.setdefault(order.client_id, order)
        self.log.setdefault(order.client_id, [])
        self._paper.place(order, now_us)

    def cancel(self, client_id: str, now_us: int) -> None:
        self._paper.cancel(client_id, now_us)

    def amend(
        self, client_id: str, amendment: str, price: int | None, size: int | None, now_us: int
    ) -> None:
        self._paper.amend(client_id, amendment, price, size, now_us)

    def working(self) -> Sequence[str]:
        return self._paper.working()

    def go_on(self, now_us: int) -> None:
        """Match what works, whether any broker listens or not."""
        for instrument in {order.instrument for order in self.orders.values()}:
            told = self._market.told(instrument)
            if told is not None and told.quote is not None:
                self._paper.on_quote(told.quote._replace(time_us=now_us))
        self._paper.settle(now_us)
        for report in self._paper.reports(now_us):
            self.log[report.client_id].append(report)


@dataclass
class ExchangeBroker:
    """A broker of an Exchange; each tells of an order from its beginning, as a new one must."""

    exchange: Exchange
    told: dict[str, int] = field(default_factory=dict)

    def place(self, order: Order, now_us: int) -> None:
        self.exchange.place(order, now_us)
        self.told.setdefault(order.client_id, 0)

    def cancel(self, client_id: str, now_us: int) -> None:
        if client_id in self.told:
            self.exchange.cancel(client_id, now_us)

    def amend(
        self, client_id: str, amendment: str, price: int | None, size: int | None, now_us: int
    ) -> None:
        if client_id in self.told:
            self.exchange.amend(client_id, amendment, price, size, now_us)

    def cancel_all(self, now_us: int) -> None:
        for client_id in self.told:
            self.exchange.cancel(client_id, now_us)

    def reports(self, now_us: int) -> Sequence[BrokerReport]:
        self.exchange.go_on(now_us)
        found: list[BrokerReport] = []
        for client_id, at in self.told.items():
            news = self.exchange.log[client_id][at:]
            self.told[client_id] += len(news)
            found += news
        return found

    def working(self) -> Sequence[str]:
        return list(self.told)


@dataclass
class Lossy(ExchangeBroker):
    """Loses the answers to the next so many orders, which the exchange has, and finds them when
    they are to end. said: what was asked of it; refused: calls of which it refuses the next one.
    """

    losses: int = 0
    said: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    def place(self, order: Order, now_us: int) -> None:
        self._note("place", order.client_id)
        if self.losses:
            self.losses -= 1
            self.exchange.place(order, now_us)
            raise Unavailable("exchange", "does not answer", "ask again: it may be there")
        super().place(order, now_us)

    def cancel(self, client_id: str, now_us: int) -> None:
        self._note("cancel", client_id)
        if client_id in self.exchange.orders:
            self.told.setdefault(client_id, 0)
        super().cancel(client_id, now_us)

    def cancel_all(self, now_us: int) -> None:
        self._note("cancel all")
        super().cancel_all(now_us)

    def _note(self, *words: str) -> None:
        self.said.append(" ".join(words))
        if words[0] in self.refused:
            self.refused.remove(words[0])
            raise Refused("exchange", "401", "check the key's rights")


@dataclass
class Brittle:
    """A broker around another: any call may be the process's last, before or after it is done."""

    inner: Broker
    fate: Fate
    seen: Callable[[Order], None]

    def place(self, order: Order, now_us: int) -> None:
        self.seen(order)
        self.fate.step()
        self.inner.place(order, now_us)
        self.fate.step()

    def cancel(self, client_id: str, now_us: int) -> None:
        self.fate.step()
        self.inner.cancel(client_id, now_us)

    def amend(
        self, client_id: str, amendment: str, price: int | None, size: int | None, now_us: int
    ) -> None:
        self.fate.step()
        self.inner.amend(client_id, amendment, price, size, now_us)

    def cancel_all(self, now_us: int) -> None:
        self.fate.step()
        self.inner.cancel_all(now_us)

    def reports(self, now_us: int) -> Sequence[BrokerReport]:
        found = self.inner.reports(now_us)
        if found:
            self.fate.step()
        return found

    def working(self) -> Sequence[str]:
        return self.inner.working()


class BrittleVenue:
    """A venue whose broker is Brittle."""

    def __init__(self, inner: Venue, fate: Fate, seen: Callable[[Order], None]) -> None:
        self._inner = inner
        self.broker: Broker = Brittle(inner.broker, fate, seen)

    def look(self, now_us: int, instruments: Iterable[Instrument]) -> None:
        self._inner.look(now_us, instruments)

    def take_back(self, again: Again, now_us: int) -> int:
        return self._inner.take_back(again, now_us)


def remote(exchange: Exchange) -> Venue:
    """Return a new connection to a venue with a memory."""
    return RealVenue(ExchangeBroker(exchange))
