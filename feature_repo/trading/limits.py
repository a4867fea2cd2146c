"""What no order may pass: size, exposure, a day's loss. Asked before an order goes out."""

from __future__ import annotations

from dataclasses import dataclass

from feature_repo.trading.account import Account
from feature_repo.trading.market import Instrument
from feature_repo.trading.money import times
from feature_repo.trading.order import Order

DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """None: no limit. All inclusive, in units of 1e-10.

    size: of one order. exposure: value of an instrument's position with all that is out, either
    way. daily_loss: fall of the equity since the UTC day began; once it is passed, only orders
    that make a position smaller go out until the next day.
    """

    size: int | None = None
    exposure: int | None = None
    daily_loss: int | None = None

    @property
    def any(self) -> bool:
        """Tell whether there is one."""
        return not (self.size is None and self.exposure is None and self.daily_loss is None)


class Guard:
    """Asks the limits; keeps the equity with which the day began."""

    __slots__ = ("_began", "_day", "limits")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._day = -1
        self._began = 0

    def at(self, time_us: int, account: Account) -> None:
        """Note the time; call it before the first change of a day."""
        day = time_us // DAY_US
        if day != self._day:
            self._day = day
            self._began = account.equity()

    def hears(self, instrument: Instrument, now_us: int) -> bool:
        """Tell that every order is heard."""
        return True

    def holds(self, instrument: Instrument, price: int) -> bool:
        """Tell that every price sets off a stop."""
        return False

    def refusal(self, order: Order, account: Account) -> str:
        """Return why an order may not go out; "" where it may."""
        limits = self.limits
        if limits.size is not None and order.size > limits.size:
            return "size: the order is above the limit"
        before = account.expected(order.instrument)
        after = before + order.signed
        if abs(after) < abs(before) and before * after >= 0:
            return ""
        if limits.exposure is not None:
            worth = self.exposure(order, account)
            if worth is None or worth > limits.exposure:
                return "exposure: the position would be above the limit"
        if limits.daily_loss is not None and self.loss(account) > limits.daily_loss:
            return "daily loss: the day has lost more than the limit"
        return ""

    def exposure(self, order: Order, account: Account) -> int | None:
        """Return what the position would be worth with the order; None: nobody knows a price."""
        price = account.marks.get(order.instrument) or order.price
        after = account.expected(order.instrument) + order.signed
        return None if price is None else abs(times(price, after))

    def loss(self, account: Account) -> int:
        """Return how far the equity has fallen since the day began."""
        return self._began - account.equity()
