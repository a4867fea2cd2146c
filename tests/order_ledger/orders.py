"""Orders and commands for tests of the ledger."""

from __future__ import annotations

from feature_repo.ledger.commands import Change, ChangeType, Place
from feature_repo.trading.market import Instrument
from feature_repo.trading.order import Order, Side

BTC = Instrument("X:BTCUSD", "coinbase", "spot")
ETH = Instrument("X:ETHUSD", "coinbase", "spot")
ONE = 10**10
START_US = 1_780_000_000_000_000
ORIGIN = {"ticks": "3:1001-1044", "features": "42", "model": "trees/7", "code": "488d3da"}


def place(
    name: str,
    size: int = ONE,
    *,
    side: Side = "buy",
    instrument: Instrument = BTC,
    price: int | None = 100 * ONE,
    at_us: int = START_US,
) -> Place:
    """Return a wish for a limit order, or a market order without a price."""
    kind = "market" if price is None else "limit"
    order = Order(instrument, side, size, kind=kind, price=price, client_id=name)
    return Place("desk", order, at_us, ORIGIN)


def change(
    name: str, event_type: ChangeType, command_id: str = "", at_us: int = START_US
) -> Change:
    """Return a change without an amount."""
    return Change("desk", name, event_type, command_id or event_type, at_us)


def fill(
    name: str, size: int = ONE, fill_id: str = "f1", price: int = 100 * ONE, at_us: int = START_US
) -> Change:
    """Return a fill with a fee of 0.1."""
    return Change("desk", name, "filled", fill_id, at_us, price, size, ONE // 10, "taker")
