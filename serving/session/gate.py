"""What a session's orders pass before they go out: the risk desk, on the session's clock."""

from __future__ import annotations

from collections.abc import Mapping

from feature_repo.trading.account import Account
from feature_repo.trading.market import Instrument
from feature_repo.trading.order import Order
from serving.risk.limits import Asked, Price, RiskDesk, RiskLimits
from serving.risk.refusals import words_of

REFUSED_US = 5_000_000
"""An instrument of which an order was refused is not listened to for this long: a strategy that
asks again with each quote would fill the ledger with refusals."""


class Gate:
    """One strategy's. prices: of all instruments, as the session knows them.

    is_open: while it is not, orders are not heard: killed, late, or not begun yet.
    """

    def __init__(self, limits: RiskLimits, prices: Mapping[Instrument, Price]) -> None:
        self._desk = RiskDesk(limits)
        self._prices = prices
        self._now_us = 0
        self._deaf_until: dict[Instrument, int] = {}
        self.is_open = False

    def at(self, time_us: int, account: Account) -> None:
        """Note the time."""
        self._now_us = time_us
        self._desk.at(time_us, account)

    def hears(self, instrument: Instrument, now_us: int) -> bool:
        """Tell whether an order of this instrument is heard now."""
        return self.is_open and now_us >= self._deaf_until.get(instrument, 0)

    def refusal(self, order: Order, account: Account) -> str:
        """Return every limit that an order would pass, in words; "" where it may go out."""
        price = self._prices.get(order.instrument)
        found = self._desk.breaches(Asked(order, account, price, self._now_us))
        if found:
            self._deaf_until[order.instrument] = self._now_us + REFUSED_US
        return words_of(found)
