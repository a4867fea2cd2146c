"""What an order may not pass before it goes out, and why it may not; pure, and the same each time.

Size, exposure of an instrument and a day's loss are asked by feature_repo.trading.limits, the code
that a backtest asks. What is added here is about a live market: prices that are old or far off,
orders that come too often or twice, and what all positions together are worth.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from feature_repo.trading.account import Account
from feature_repo.trading.limits import Guard, Limits
from feature_repo.trading.market import Instrument
from feature_repo.trading.money import MILLION, times
from feature_repo.trading.order import Order
from serving.risk.prices import Price, is_spike

SECOND_US = 1_000_000
REMEMBERED_MAX = 100_000
"""Orders remembered for the checks of rate and duplicates."""

Rule = Literal[
    "size",
    "exposure",
    "daily_loss",
    "order_value",
    "position",
    "total_exposure",
    "collar",
    "spike",
    "stale_price",
    "rate",
    "duplicate",
]


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """None: no limit. All inclusive; sizes and money in units of 1e-10, times in microseconds.

    order: size, exposure and daily loss. order_value: of one order, at its price or the market's,
    the dearer. position: of an instrument, with all that is out, either
    way. total_exposure: of all positions with all that is out, each by its amount. collar: how far
    a limit or stop may be from the price, in millionths of it. spike: how far the price, or the
    middle of the book, may be from what is usual (UsualPrice), in millionths of that, for a market
    order to go out and for a stop to become one. price_age_us: of the price that an
    order rests on. price_ahead_us: how far its time may be in the future: the exchange's clock and
    ours differ a little, and one that stepped back by more says nothing of a price. orders, per_us:
    so many orders in so long. duplicate_us: an order that is like one of so long ago, but for its
    id, is one sent twice.
    """

    order: Limits = field(default_factory=Limits)
    position: int | None = None
    total_exposure: int | None = None
    collar: int | None = 50_000
    spike: int | None = 50_000
    price_age_us: int | None = 5 * SECOND_US
    orders: int | None = 100
    per_us: int = SECOND_US
    duplicate_us: int | None = SECOND_US
    order_value: int | None = None
    price_ahead_us: int | None = 2 * SECOND_US


class Breach(NamedTuple):
    """A limit that an order would pass. measured, limit: in the limit's unit; -1 where there is
    nothing to measure.
    """

    rule: Rule
    reason: str
    measured: int
    limit: int


class Asked(NamedTuple):
    """What is known as an order is asked about. price: None where there is none.

    usual: what the instrument usually costs; middle: of its book; None where nobody knows.
    """

    order: Order
    account: Account
    price: Price | None
    now_us: int
    usual: int | None = None
    middle: Price | None = None


class RiskDesk:
    """Asks every limit; remembers the orders that passed. One thread uses it.

    elsewhere: instruments whose positions others look after; the worth of all leaves them out.
    """

    def __init__(self, limits: RiskLimits) -> None:
        self.limits = limits
        self.elsewhere: frozenset[Instrument] = frozenset()
        self._guard = Guard(limits.order)
        self._sent: deque[tuple[int, Order]] = deque()
        self._known: set[str] = set()

    def at(self, now_us: int, account: Account) -> None:
        """Note the time; call it before the first change of a day, as Guard says."""
        self._guard.at(now_us, account)

    def breaches(self, asked: Asked) -> list[Breach]:
        """Return every limit that the order would pass; none: it may go out, and is remembered.

        An order that only makes a position smaller passes what is said of positions, exposure and
        the day's loss; it is still refused on an old price, twice, or beyond the rate.
        """
        self._forget(asked.now_us)
        found = [breach for check in CHECKS for breach in [check(self, asked)] if breach]
        if not found:
            self._sent.append((asked.now_us, asked.order))
            self._known.add(asked.order.client_id)
        return found

    def amended(self, asked: Asked) -> list[Breach]:
        """Return every limit that an order which passed would pass as it is to be from now on.

        asked: what is left of it then, while the account counts nothing of it as working.
        """
        name = asked.order.client_id
        before = [each for each in self._sent if each[1].client_id == name]
        self.withdraw(name)
        found = self.breaches(asked)
        if found:
            self.restore(before)
        return found

    def restore(self, sent: list[tuple[int, Order]]) -> None:
        """Remember orders of before a restart: (when, order), in their order."""
        self._sent.extend(sent)
        self._known.update(order.client_id for _, order in sent)

    def withdraw(self, client_id: str) -> None:
        """Forget an order that passed and was not sent after all: it may be asked for again."""
        kept = [each for each in self._sent if each[1].client_id != client_id]
        self._sent = deque(kept)
        self._known.discard(client_id)

    def _forget(self, now_us: int) -> None:
        reach_us = max(self.limits.per_us, self.limits.duplicate_us or 0)
        while self._sent and (
            now_us - self._sent[0][0] > reach_us or len(self._sent) > REMEMBERED_MAX
        ):
            _, order = self._sent.popleft()
            self._known.discard(order.client_id)

    def _of_the_guard(self, asked: Asked) -> Breach | None:
        reason = self._guard.refusal(asked.order, asked.account)
        if not reason:
            return None
        name = reason.partition(":")[0].replace(" ", "_")
        rules: dict[str, tuple[Rule, int | None]] = {
            "size": ("size", self.limits.order.size),
            "exposure": ("exposure", self.limits.order.exposure),
            "daily_loss": ("daily_loss", self.limits.order.daily_loss),
        }
        rule, limit = rules[name]
        return Breach(rule, reason, self._measured(rule, asked), -1 if limit is None else limit)

    def _measured(self, rule: Rule, asked: Asked) -> int:
        """Return what the guard measured; -1 where nobody knows a price."""
        order, account = asked.order, asked.account
        if rule == "size":
            return order.size
        if rule == "daily_loss":
            return self._guard.loss(account)
        worth = self._guard.exposure(order, account)
        return -1 if worth is None else worth

    def _order_value(self, asked: Asked) -> Breach | None:
        limit, order = self.limits.order_value, asked.order
        if limit is None:
            return None
        market = None if asked.price is None else asked.price.value
        prices = [each for each in (order.price, market) if each is not None]
        if not prices:
            return Breach("order_value", "nobody knows what the order is worth", -1, limit)
        value = times(max(prices), order.size)
        if value <= limit:
            return None
        return Breach("order_value", "the order is worth more than the limit", value, limit)

    def _position(self, asked: Asked) -> Breach | None:
        limit = self.limits.position
        after = asked.account.expected(asked.order.instrument) + asked.order.signed
        if limit is None or abs(after) <= limit or makes_smaller(asked):
            return None
        return Breach("position", "the position would be above the limit", abs(after), limit)

    def _total(self, asked: Asked) -> Breach | None:
        limit = self.limits.total_exposure
        if limit is None or makes_smaller(asked):
            return None
        account = asked.account
        total = 0
        known = {*account.positions, *account.working} - self.elsewhere
        for instrument in known | {asked.order.instrument}:
            size = account.expected(instrument)
            size += asked.order.signed if instrument == asked.order.instrument else 0
            if size:
                value = _value(asked, instrument)
                if value is None:
                    reason = f"nobody knows what {instrument.ticker} is worth"
                    return Breach("total_exposure", reason, -1, limit)
                total += abs(times(value, size))
        if total <= limit:
            return None
        return Breach("total_exposure", "all positions would be above the limit", total, limit)

    def _collar(self, asked: Asked) -> Breach | None:
        limit, order = self.limits.collar, asked.order
        if limit is None or order.price is None:
            return None
        if asked.price is None or asked.price.value <= 0:
            return Breach("collar", "there is no price to compare with", -1, limit)
        away = abs(order.price - asked.price.value)
        if away * MILLION <= limit * asked.price.value:
            return None
        measured = away * MILLION // asked.price.value
        return Breach("collar", "its price is too far from the market's", measured, limit)

    def _spike(self, asked: Asked) -> Breach | None:
        limit, usual = self.limits.spike, asked.usual
        if limit is None or usual is None or asked.order.kind != "market":
            return None
        age_us_max = self.limits.price_age_us
        seen = [
            each.value
            for each in (asked.price, asked.middle)
            if each and (age_us_max is None or each.age_us(asked.now_us) <= age_us_max)
        ]
        if not any(is_spike(each, usual, limit) for each in seen):
            return None
        measured = max(abs(each - usual) * MILLION // usual for each in seen)
        return Breach("spike", "the price has jumped from what is usual", measured, limit)

    def _stale(self, asked: Asked) -> Breach | None:
        limit = self.limits.price_age_us
        if limit is None:
            return None
        if asked.price is None:
            return Breach("stale_price", "there is no price to rest on", -1, limit)
        now_us, ahead_us = asked.now_us, self.limits.price_ahead_us
        if ahead_us is not None and asked.price.time_us - now_us > ahead_us:
            measured = asked.price.time_us - asked.now_us
            return Breach(
                "stale_price", "its time has not come: a clock is off", measured, ahead_us
            )
        age_us = asked.price.age_us(now_us)
        if age_us <= limit:
            return None
        return Breach("stale_price", "the price that it rests on is too old", age_us, limit)

    def _rate(self, asked: Asked) -> Breach | None:
        limit = self.limits.orders
        if limit is None:
            return None
        since_us = asked.now_us - self.limits.per_us
        count = sum(sent_us > since_us for sent_us, _ in self._sent)
        if count < limit:
            return None
        return Breach("rate", "too many orders in a time", count + 1, limit)

    def _duplicate(self, asked: Asked) -> Breach | None:
        limit, order = self.limits.duplicate_us, asked.order
        if order.client_id and order.client_id in self._known:
            return Breach("duplicate", f"order {order.client_id} was sent already", -1, -1)
        if limit is None:
            return None
        for sent_us, sent in reversed(self._sent):
            ago_us = asked.now_us - sent_us
            if ago_us > limit:
                break
            if _content(sent) == _content(order):
                reason = f"it is as order {sent.client_id or 'before it'}"
                return Breach("duplicate", reason, ago_us, limit)
        return None


CHECKS: tuple[Callable[[RiskDesk, Asked], Breach | None], ...] = (
    RiskDesk._of_the_guard,
    RiskDesk._order_value,
    RiskDesk._position,
    RiskDesk._total,
    RiskDesk._collar,
    RiskDesk._spike,
    RiskDesk._stale,
    RiskDesk._rate,
    RiskDesk._duplicate,
)


def makes_smaller(asked: Asked) -> bool:
    """Tell whether an order makes a position smaller and does not turn it."""
    before = asked.account.expected(asked.order.instrument)
    after = before + asked.order.signed
    return abs(after) < abs(before) and before * after >= 0


def _value(asked: Asked, instrument: Instrument) -> int | None:
    if instrument == asked.order.instrument and asked.price is not None:
        return asked.price.value
    return asked.account.marks.get(instrument)


def _content(order: Order) -> tuple[object, ...]:
    kind = order.kind, order.price, order.ioc, order.post_only
    return order.instrument, order.side, order.size, *kind
