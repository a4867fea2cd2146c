"""What a strategy is: one small class that sees events and says what it wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from feature_repo.trading.account import Account
from feature_repo.trading.market import Event, Instrument
from feature_repo.trading.order import Action, Order


class Strategy(Protocol):
    """The one interface, of a backtest, of a replay and of live trading.

    on_event is called with each event when it is known (its available_us), in that order, and with
    the account as it stands then: positions, orders that are out, cash. It returns what it wants,
    and reads nothing else: no clock, no file, no chance that is not seeded by a parameter.
    """

    name: ClassVar[str]

    def on_event(self, event: Event, account: Account) -> Sequence[Action]:
        """Return the orders and cancels that an event leads to."""


def orders_towards(target: int, instrument: Instrument, account: Account) -> tuple[Order, ...]:
    """Return the market order that makes the position a target, with what is out counted in."""
    lacking = target - account.expected(instrument)
    if not lacking:
        return ()
    return (Order(instrument, "buy" if lacking > 0 else "sell", abs(lacking)),)
