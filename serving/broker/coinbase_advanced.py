"""Coinbase Advanced Trade as a broker, over REST: its sandbox, or anything that speaks its API.

The venue knows an order by its client_order_id: sent again, the order that is there is answered.
One that is to end is not sent again: it is looked for among the venue's orders, by that id.
What happened is asked for, since an answer may be lost: each order's state, then its fills, each
once by its entry_id. A stop becomes a stop-limit, the only kind there is; its limit is STOP_REACH
beyond the stop, so what falls through that rests instead of being filled at any price.
https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/rest-api
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from urllib.parse import urlsplit

import httpx

from feature_repo.trading.market import Instrument
from feature_repo.trading.money import decimal_of, part, units
from feature_repo.trading.order import Ended, Fill, Order, State
from lake.clock import Clock
from lake.errors import Refused, Unavailable, WrongUse
from lake.feeds.events import rfc3339_us
from lake.feeds.instrument import venue_symbols
from serving.broker.broker import Accepted, BrokerReport
from serving.broker.coinbase_token import ApiKey

SANDBOX_URL = "https://api-sandbox.coinbase.com"
ROOT = "/api/v3/brokerage/orders"
ANSWER_S_MAX = 5.0
STOP_REACH = 50_000
"""Millionths of the stop's price by which its limit is worse."""

PAGES_MAX = 50
"""Pages of fills of one order."""

FILLS_AT_ONCE = 100
LIST_PAGES_MAX = 10
ORDERS_AT_ONCE = 250
"""Of the orders among which one is looked for whose answer was lost."""

SKEW_US = 60_000_000
"""How far before its order's time the list of orders begins: the venue has its own clock."""

ARRIVES_US_MAX = 10_000_000
"""After this since it was sent last, an order that the venue doesn't list never reached it."""

CANCELS_AT_ONCE = 100
WORDS_MAX = 200
ENDS: dict[str, State] = {"CANCELLED": "cancelled", "EXPIRED": "expired", "FAILED": "rejected"}
TEN_PLACES = Decimal("1e-10")


@dataclass(slots=True)
class _Sent:
    """since_us: when it was sent first; sent_us: when last, of the clock that never steps."""

    order: Order
    since_us: int
    sent_us: int = 0
    venue_id: str = ""
    filled: int = 0
    seen: set[str] = field(default_factory=set)
    done: bool = False


class CoinbaseAdvanced:
    """A broker behind Coinbase's REST API; one thread uses it.

    key: None for the sandbox, which asks for none. Raises Unavailable where the venue can't be
    reached or says that it is busy, Refused where it does not take our key.
    """

    def __init__(self, url: str, key: ApiKey | None, clock: Clock) -> None:
        self._host = urlsplit(url).netloc
        self._key = key
        self._clock = clock
        self._client = httpx.Client(base_url=url, timeout=ANSWER_S_MAX)
        self._sent: dict[str, _Sent] = {}
        self._reports: list[BrokerReport] = []

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def place(self, order: Order, now_us: int) -> None:
        """Send an order; the same call again finds the order that is there."""
        if not order.client_id:
            raise WrongUse("order", "has no client id", "give each its own")
        known = self._sent.setdefault(order.client_id, _Sent(order, now_us))
        if known.order != order:
            raise WrongUse(f"order {order.client_id}", "is another", "give each its own id")
        if known.venue_id or known.done:
            return
        known.sent_us = self._clock.monotonic_us()
        answer = self._asked("POST", ROOT, json=body_of(order))
        instrument = order.instrument
        if not answer.get("success"):
            known.done = True
            reason = _words(answer.get("error_response", {}))
            self._reports.append(Ended(order.client_id, instrument, now_us, "rejected", reason))
            return
        known.venue_id = str(answer["success_response"]["order_id"])

    def cancel(self, client_id: str, now_us: int) -> None:
        """Ask for an order's end."""
        known = self._sent.get(client_id)
        if known is not None and not known.done:
            self._find(client_id, known, now_us)
            self._cancel([known.venue_id] if known.venue_id else [])

    def amend(
        self, client_id: str, amendment: str, price: int | None, size: int | None, now_us: int
    ) -> None:
        """Refuse: the venue may take an amended order for a new one, which stands last."""
        remedy = "cancel it, and place another"
        raise Refused(f"order {client_id}", "is not amended at this venue", remedy)

    def cancel_all(self, now_us: int) -> None:
        """Ask for the end of every order that is known to be there."""
        works = [each.venue_id for each in self._sent.values() if not each.done and each.venue_id]
        for at in range(0, len(works), CANCELS_AT_ONCE):
            self._cancel(works[at : at + CANCELS_AT_ONCE])

    def reports(self, now_us: int) -> Sequence[BrokerReport]:
        """Return what happened since the last call."""
        for client_id, known in self._sent.items():
            if known.venue_id and not known.done:
                self._look(client_id, known, now_us)
        found, self._reports = self._reports, []
        return found

    def working(self) -> Sequence[str]:
        """Return the ids of orders that are not done, as far as reported."""
        return [client_id for client_id, known in self._sent.items() if not known.done]

    def _look(self, client_id: str, known: _Sent, now_us: int) -> None:
        """Ask for an order's state, then for the fills that it speaks of."""
        found = self._asked("GET", f"{ROOT}/historical/{known.venue_id}")["order"]
        state, filled = str(found["status"]), _units(found.get("filled_size") or "0")
        if state == "FAILED" and not filled:
            reason = _words(found)
            known.done = True
            ended = Ended(client_id, known.order.instrument, now_us, "rejected", reason)
            self._reports.append(ended)
            return
        if state not in ("PENDING", "QUEUED") and "" not in known.seen:
            known.seen.add("")  # stands for its acceptance
            self._reports.append(
                Accepted(client_id, known.order.instrument, now_us, known.venue_id)
            )
        if filled > known.filled:
            self._take_fills(client_id, known, now_us)
        if known.filled < filled:
            return  # its fills are not all told yet; the next look finds them
        known.done = state == "FILLED" or state in ENDS
        if state in ENDS:
            reason = _words(found) or "taken back"
            ended = Ended(client_id, known.order.instrument, now_us, ENDS[state], reason)
            self._reports.append(ended)

    def _take_fills(self, client_id: str, known: _Sent, now_us: int) -> None:
        order = known.order
        told = sorted(self._fills(known.venue_id), key=lambda each: str(each["trade_time"]))
        for each in told:
            if each["entry_id"] in known.seen:
                continue
            known.seen.add(each["entry_id"])
            size, price = _units(each["size"]), _units(each["price"])
            known.filled += size
            self._reports.append(
                Fill(
                    client_id,
                    order.instrument,
                    rfc3339_us(each["trade_time"], "trade_time", now_us),
                    order.side,
                    price,
                    size,
                    _units(each["commission"]),
                    each["liquidity_indicator"] == "MAKER",
                )
            )

    def _fills(self, venue_id: str) -> Iterator[dict[str, Any]]:
        cursor = ""
        for _ in range(PAGES_MAX):
            query = {"order_ids": venue_id, "limit": str(FILLS_AT_ONCE), "cursor": cursor}
            page = self._asked("GET", f"{ROOT}/historical/fills", params=query)
            yield from page["fills"]
            cursor = page.get("cursor") or ""
            if not cursor:
                return
        raise Unavailable(f"fills of {venue_id}", "are more than we read", "look at the venue")

    def _find(self, client_id: str, known: _Sent, now_us: int) -> None:
        """Learn the venue's name of an order whose answer was lost; where it never got there, it
        ends. Raises Unavailable while it may be on its way.
        """
        if known.venue_id:
            return
        for each in self._listed(known):
            if each["client_order_id"] == client_id:
                known.venue_id = str(each["order_id"])
                return
        if self._clock.monotonic_us() - known.sent_us < ARRIVES_US_MAX:
            raise Unavailable(f"order {client_id}", "is not listed yet", "it is looked for again")
        known.done = True
        reason = "it never reached the venue"
        self._reports.append(Ended(client_id, known.order.instrument, now_us, "cancelled", reason))

    def _listed(self, known: _Sent) -> Iterator[dict[str, Any]]:
        """Return the venue's orders of an order's product since that was sent."""
        since = datetime.fromtimestamp((known.since_us - SKEW_US) / 1e6, UTC)
        query = {
            "product_ids": product_of(known.order.instrument),
            "start_date": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "limit": str(ORDERS_AT_ONCE),
        }
        for _ in range(LIST_PAGES_MAX):
            page = self._asked("GET", f"{ROOT}/historical/batch", params=query)
            yield from page["orders"]
            if not page.get("has_next"):
                return
            query["cursor"] = str(page["cursor"])
        product = query["product_ids"]
        raise Unavailable(f"orders of {product}", "are more than we read", "look at the venue")

    def _cancel(self, ids: list[str]) -> None:
        """Ask for ends; one that is refused is done already, which the next look tells."""
        if not ids:
            return
        self._asked("POST", f"{ROOT}/batch_cancel", json={"order_ids": ids})

    def _asked(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        headers = {}
        if self._key is not None:
            token = self._key.token(method, self._host, path, self._clock.now_us())
            headers["Authorization"] = f"Bearer {token}"
        try:
            answer = self._client.request(method, path, headers=headers, **given)
        except httpx.HTTPError as error:
            remedy = "ask again: what was sent may be there"
            raise Unavailable(self._host, f"{path}: {error!r}"[:WORDS_MAX], remedy) from error
        if answer.status_code in (401, 403):
            raise Refused(self._host, f"{path}: {answer.status_code}", "check the key's rights")
        if answer.status_code == 429 or answer.status_code >= 500:
            raise Unavailable(self._host, f"{path}: {answer.status_code}", "ask again later")
        try:
            found = answer.json()
        except ValueError as error:
            raise Unavailable(self._host, f"{path}: answers no JSON", "is it Coinbase?") from error
        if answer.status_code >= 400:
            if path == ROOT:
                return {"success": False, "error_response": found}
            raise Unavailable(self._host, f"{path}: {_words(found)}", "look at the venue")
        return dict(found)


def body_of(order: Order) -> dict[str, Any]:
    """Return the body that creates an order."""
    base, price = _text(order.size), order.price
    kind: dict[str, Any]
    if order.kind == "market":
        kind = {"market_market_ioc": {"base_size": base}}
    elif order.kind == "stop":
        assert price is not None
        reach = part(price, STOP_REACH)
        buys = order.side == "buy"
        inner = {
            "base_size": base,
            "limit_price": _text(price + reach if buys else price - reach),
            "stop_price": _text(price),
            "stop_direction": f"STOP_DIRECTION_STOP_{'UP' if buys else 'DOWN'}",
        }
        kind = {"stop_limit_stop_limit_gtc": inner}
    else:
        assert price is not None
        inner = {"base_size": base, "limit_price": _text(price)}
        name = "sor_limit_ioc" if order.ioc else "limit_limit_gtc"
        kind = {name: inner if order.ioc else {**inner, "post_only": order.post_only}}
    return {
        "client_order_id": order.client_id,
        "product_id": product_of(order.instrument),
        "side": order.side.upper(),
        "order_configuration": kind,
    }


def product_of(instrument: Instrument) -> str:
    """Return the venue's name of an instrument: X:BTCUSD is BTC-USD."""
    return venue_symbols("coinbase", [instrument.ticker])[0]


def _text(amount: int) -> str:
    return f"{decimal_of(amount).normalize():f}"


def _units(text: str) -> int:
    """Return a decimal of the venue in units; a fee may have more places than we keep."""
    return units(Decimal(str(text)).quantize(TEN_PLACES, ROUND_HALF_EVEN))


def _words(found: dict[str, Any]) -> str:
    names = ("error", "message", "new_order_failure_reason", "reject_reason", "cancel_message")
    said = [str(found[name]) for name in names if found.get(name)]
    return ": ".join(said)[:WORDS_MAX]
