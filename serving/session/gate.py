"""What a session's orders pass before they go out: the risk desk, on the session's clock."""

from __future__ import annotations

from feature_repo.trading.account import Account
from feature_repo.trading.market import Instrument
from feature_repo.trading.order import Order
from serving.risk.limits import Asked, RiskDesk, RiskLimits
from serving.risk.prices import Prices, is_spike
from serving.risk.refusals import words_of

REFUSED_US = 5_000_000
"""An instrument of which an order was refused is not listened to for this long: a strategy that
asks again with each quote would fill the ledger with refusals."""


class Gate:
    """One strategy's. prices: of all instruments, as the session knows them.

    elsewhere: what another shard's session looks after, until prices of it come here. is_open:
    while it is not, orders are not heard: killed, late, or not begun yet.
    """

    def __init__(
        self, limits: RiskLimits, prices: Prices, elsewhere: frozenset[Instrument] = frozenset()
    ) -> None:
        self._elsewhere = elsewhere
        self._desk = RiskDesk(limits)
        self._prices = prices
        self._now_us = 0
        self._deaf_until: dict[Instrument, int] = {}
        self.is_open = False

    def begin(self, worth: int | None, time_us: int) -> None:
        """Let the loss of a time's day count from a worth; None: from that of the first row."""
        if worth is not None:
            self.at(time_us, Account(worth))

    def at(self, time_us: int, account: Account) -> None:
        """Note the time."""
        self._now_us = time_us
        self._desk.at(time_us, account)

    def hears(self, instrument: Instrument, now_us: int) -> bool:
        """Tell whether an order of this instrument is heard now."""
        return self.is_open and now_us >= self._deaf_until.get(instrument, 0)

    def refusal(self, order: Order, account: Account) -> str:
        """Return every limit that an order would pass, in words; "" where it may go out."""
        known, now_us = self._prices.known(order.instrument), self._now_us
        asked = Asked(order, account, None, now_us)
        if known is not None:
            asked = Asked(order, account, known.price, now_us, known.usual.value(), known.middle)
        if self._elsewhere:
            unseen = (each for each in self._elsewhere if self._prices.known(each) is None)
            self._desk.elsewhere = frozenset(unseen)
        found = self._desk.breaches(asked)
        if found:
            self._deaf_until[order.instrument] = self._now_us + REFUSED_US
        return words_of(found)

    def holds(self, instrument: Instrument, price: int) -> bool:
        """Tell whether a best price has jumped from what is usual: it sets off no stop."""
        return is_spike(price, self._prices.usual(instrument), self._desk.limits.spike)
