"""A session's orders as text, and its digest: of what it said, and of what the ledger has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from feature_repo.trading.money import units
from feature_repo.trading.order import Ended, Fill
from feature_repo.trading.simulation import Arrived
from serving.session.session import Decided, Out

EVENTS_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Listed:
    """An order's lines: what was wanted and when, each fill, and how it ended."""

    lines: list[str] = field(default_factory=list)


class Orders:
    """Collects the orders of one session, by when they were decided.

    events_max: what comes after so many events of theirs is left; None: nothing.
    """

    def __init__(self, events_max: int | None = None) -> None:
        self._found: dict[tuple[str, str], Listed] = {}
        self._left = events_max

    def __len__(self) -> int:
        return len(self._found)

    def take(self, outs: Iterable[Out]) -> None:
        """Take what a session said."""
        for out in outs:
            said = out.said
            if isinstance(said, Decided):
                order = said.order
                self._add(
                    (out.account, order.client_id),
                    *(*order.instrument, order.side, order.size, order.kind, order.price),
                    *(order.ioc, order.post_only, said.placed_us),
                )
                if said.refusal:
                    self._note(out.account, order.client_id, "rejected", said.placed_us)
            elif isinstance(said, Fill):
                liquidity = "maker" if said.maker else "taker"
                amounts = said.price, said.size, said.fee, liquidity
                self._note(out.account, said.client_id, "fill", said.time_us, *amounts)
            elif isinstance(said, Ended):
                self._note(out.account, said.client_id, said.state, said.time_us)
            else:
                assert isinstance(said, Arrived)
                self._note(out.account, said.client_id, "accepted", said.time_us)

    def take_event(self, row: dict[str, Any], prefix: str) -> None:
        """Take a row of order_events; prefix: of the session's orders."""
        account, name = row["account"], row["client_order_id"].removeprefix(prefix)
        kind = row["event_type"]
        amounts = [None if row[n] is None else units(row[n]) for n in ("price", "size", "fee")]
        if kind == "created":
            flags = json.loads(row["event_data"])
            self._add(
                (account, name),
                *(row["ticker"], row["exchange"], row["market"], row["side"], amounts[1]),
                *(row["kind"], amounts[0], flags["ioc"], flags["post_only"], row["event_us"]),
            )
        elif kind in ("partially_filled", "filled"):
            self._note(account, name, "fill", row["event_us"], *amounts, row["liquidity"])
        else:
            self._note(account, name, kind, row["event_us"])

    @property
    def is_full(self) -> bool:
        """Tell whether what comes is left."""
        return self._left == 0

    def take_back(self, account: str, name: str, at_us: int) -> None:
        """Take a cancel that is the ledger's alone, after all else."""
        self._left = None
        self._note(account, name, "cancelled", at_us)

    def lines(self) -> list[str]:
        """Return all as text, order by order: the canonical form."""
        return [line for each in self._found.values() for line in each.lines]

    def digest(self) -> str:
        """Return SHA-256 of the canonical form, in hex."""
        return hashlib.sha256("".join(f"{line}\n" for line in self.lines()).encode()).hexdigest()

    def _add(self, key: tuple[str, str], *said: object) -> None:
        if not self._is_left():
            self._found[key] = Listed([_line(*key, *said)])

    def _note(self, account: str, name: str, *said: object) -> None:
        if not self._is_left():
            self._found[account, name].lines.append(_line(account, name, *said))

    def _is_left(self) -> bool:
        if self._left is not None and self._left > 0:
            self._left -= 1
            return False
        return self._left == 0


def first_difference(one: Orders, other: Orders) -> tuple[str, str] | None:
    """Return the first lines in which two differ, "" where one has no more; None: all equal."""
    here, there = one.lines(), other.lines()
    for i in range(max(len(here), len(there))):
        pair = (here[i] if i < len(here) else "", there[i] if i < len(there) else "")
        if pair[0] != pair[1]:
            return pair
    return None


def orders_of_ledger(connection: psycopg.Connection[Any], session: str) -> Orders:
    """Return a session's orders as the ledger has them, in the order of their first events."""
    found, prefix = Orders(), prefix_of(session)
    query = (
        "SELECT account, client_order_id, event_type, ticker, exchange, market, side, kind,"
        " price::text, size::text, fee::text, liquidity, event_data,"
        " (extract(epoch FROM event_time) * 1000000)::bigint AS event_us"
        " FROM market.order_events WHERE starts_with(client_order_id, %s) ORDER BY id"
    )
    with connection.cursor(name="session_orders") as cursor:
        cursor.itersize = EVENTS_AT_ONCE
        cursor.execute(query.encode(), (prefix,))
        names: list[str] = []
        for row in cursor:
            names = names or [each.name for each in cursor.description or ()]
            found.take_event(dict(zip(names, row, strict=True)), prefix)
    return found


def prefix_of(session: str) -> str:
    """Return what the ledger's names of a session's orders begin with."""
    return f"{session}/"


def _line(*said: object) -> str:
    return "|".join("" if each is None else str(each) for each in said)
