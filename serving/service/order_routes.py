"""Routes of orders, positions and money; and of the switch that stops all trading."""

from __future__ import annotations

from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Path, Query, Request

from feature_repo.trading.money import units
from feature_repo.trading.order import Order
from serving.desk.amendment import Wish
from serving.service.answers import Json, NotThere, refusal
from serving.service.market_routes import instrument_of
from serving.service.models import (
    KillWord,
    Name,
    NameOrNone,
    NewAmendment,
    NewCancel,
    NewOrder,
    NewRelease,
    NewWord,
    OneOrder,
    PlacedOrder,
    Rows,
    Some,
)
from serving.service.parts import Admin, Parts, Reader, Trader, there

Account = Annotated[NameOrNone, Query(description="Of this account; none: of all.")]
EVENTS_MAX = 1_000
KILL_THREADS = 2
"""Of the switch alone: reads that wait for a database that is away take none of them."""


class OrderRoutes:
    """The routes of one service's orders."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._given = parts.given

    def router(self) -> APIRouter:
        """Return the routes."""
        routes = APIRouter(prefix="/v1", tags=["orders"])
        routes.get("/orders", response_model=Some)(self.orders)
        routes.get("/orders/{order}", response_model=OneOrder)(self.order)
        routes.post(
            "/orders",
            status_code=201,
            response_model=PlacedOrder,
            responses={
                409: {"description": "Placed before, refused by a limit, or trading is off."}
            },
        )(self.place)
        routes.post("/orders/cancel", response_model=PlacedOrder)(self.cancel)
        routes.patch(
            "/orders/{order}",
            response_model=PlacedOrder,
            responses={
                202: {"model": PlacedOrder, "description": "Asked for, and not heard of yet."},
                409: {"description": "Done, at another event, refused by a limit or the broker."},
            },
        )(self.amend)
        routes.get("/events", response_model=Some)(self.events)
        routes.get("/positions", response_model=Some)(self.positions)
        routes.get("/pnl", response_model=Some)(self.pnl)
        routes.get("/breaches", response_model=Some)(self.breaches)
        return routes

    def orders(self, _: Reader, account: Account = "", limit: Rows = 100) -> Json:
        """Return orders as they stand, newest first."""
        return Json({"rows": there(self._given.book, "orders").orders(account, limit)})

    def order(
        self, order: Annotated[Name, Path(description="Its id, or ours.")], _: Reader
    ) -> Json:
        """Return an order and its events."""
        book = there(self._given.book, "orders")
        found = book.order(order)
        if found is None:
            raise NotThere(f"order {order}", "is not there", "see /v1/orders")
        return Json({"order": found, "events": book.events(order, EVENTS_MAX)})

    def place(self, asked: NewOrder, caller: Trader) -> Json:
        """Place an order, once: the same again changes nothing and answers 409 with the order."""
        desk = there(self._given.desk, "orders")
        order = Order(
            instrument_of(self._parts, asked.ticker, asked.exchange, asked.market),
            asked.side,
            units(asked.size),
            asked.kind,
            None if asked.price is None else units(asked.price),
            asked.ioc,
            asked.post_only,
            asked.client_order_id,
        )
        placed = desk.place(asked.account, order, caller.name)
        if placed.is_new:
            return Json({"order": placed.order}, 201)
        thing, remedy = f"order {asked.client_order_id}", "another order needs another id"
        return refusal(409, thing, "was placed before", remedy, order=placed.order)

    def cancel(self, asked: NewCancel, caller: Trader) -> Json:
        """Ask for the end of an order; 409 for one that has ended."""
        desk = there(self._given.desk, "orders")
        names = asked.account, asked.client_order_id, caller.name
        return Json({"order": desk.cancel(*names, asked.expected_sequence)})

    def amend(
        self,
        order: Annotated[Name, Path(description="Its id, or ours.")],
        asked: NewAmendment,
        caller: Trader,
    ) -> Json:
        """Give an order another price or size; 409 where it has moved on or is done."""
        found = there(self._given.book, "orders").order(order)
        if found is None:
            raise NotThere(f"order {order}", "is not there", "see /v1/orders")
        price, size = (None if each is None else units(each) for each in (asked.price, asked.size))
        wish = Wish(price, size, asked.expected_sequence)
        desk = there(self._given.desk, "orders")
        now = desk.amend(found["account"], found["client_order_id"], wish, caller.name)
        is_so = (price is None or units(now["price"]) == price) and (
            size is None or units(now["size"]) == size
        )
        return Json({"order": now}, 200 if is_so else 202)

    def events(self, _: Reader, limit: Rows = 100) -> Json:
        """Return the newest events of all orders, newest first."""
        return Json({"rows": there(self._given.book, "orders").events("", limit)})

    def positions(self, _: Reader, account: Account = "") -> Json:
        """Return what is held."""
        return Json({"rows": there(self._given.book, "positions").positions(account)})

    def pnl(self, _: Reader, account: Account = "") -> Json:
        """Return cash, value, realised and unrealised profit and loss by account."""
        return Json({"rows": there(self._given.book, "positions").pnl(account)})

    def breaches(self, _: Reader, limit: Rows = 100) -> Json:
        """Return orders that a limit refused, newest first."""
        return Json({"rows": there(self._given.book, "orders").breaches(limit)})


def kill_routes(parts: Parts) -> APIRouter:
    """Return the routes of the kill switch."""
    routes = APIRouter(prefix="/v1", tags=["kill switch"])
    own = CapacityLimiter(KILL_THREADS)

    @routes.get("/kill", response_model=KillWord)
    def state(_: Reader) -> Json:
        """Say whether trading is stopped."""
        return Json({**parts.stop.state(), "cancelling": 0})

    @routes.post("/kill", response_model=KillWord)
    async def throw(asked: NewWord, caller: Trader, request: Request) -> Json:
        """Stop all trading: every order is cancelled, every new one refused; disk full or not."""
        unaudited = str(getattr(request.state, "unaudited", ""))

        def thrown() -> Json:
            (word, fault), desk = parts.stop.throw(caller.name, asked.reason), parts.given.desk
            cancelling = desk.cancel_all(caller.name) if desk is not None else 0
            faults = [each for each in (unaudited, fault) if each]
            return Json({**word, "cancelling": cancelling, "faults": faults})

        return await to_thread.run_sync(thrown, limiter=own)

    @routes.post(
        "/resume",
        response_model=KillWord,
        responses={409: {"description": "Not stopped, or by another word than this ends."}},
    )
    def release(asked: NewRelease, caller: Admin) -> Json:
        """Let trading go on; 409 where another stop holds than the one that is named."""
        word = parts.stop.release(caller.name, asked.reason, asked.at_us)
        return Json({**word, "cancelling": 0})

    return routes
