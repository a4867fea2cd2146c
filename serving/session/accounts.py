"""What the ledger says of accounts and orders when a session begins, or goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import psycopg

from feature_repo.ledger.commands import Cash, Change
from feature_repo.ledger.writer import Writer
from feature_repo.trading.market import Instrument
from feature_repo.trading.money import units
from serving.session.orders import prefix_of
from serving.session.plan import Held, Opening, Plan

OPENING = "opening"
"""Name of the command that gives a new account its money."""


def opened(
    connection: psycopg.Connection[Any], ledger: Writer, plan: Plan, now_us: int
) -> dict[str, Opening]:
    """Return what each account has; one that the ledger does not know is given the plan's cash."""
    found = {}
    for account in plan.strategies:
        opening = _opening(connection, account)
        if opening is None:
            ledger.commit([Cash(account, plan.cash, now_us, OPENING, "cash of a new account")])
            opening = Opening(plan.cash)
        found[account] = opening
    return found


def last_frame(connection: psycopg.Connection[Any], session: str) -> int:
    """Return the last frame on which an order of a session rests that the ledger has; 0: none."""
    row = connection.execute(
        b"SELECT event_data FROM market.order_events WHERE event_type = 'created'"
        b" AND starts_with(client_order_id, %s) ORDER BY id DESC LIMIT 1",
        (prefix_of(session),),
    ).fetchone()
    if row is None:
        return 0
    return int(json.loads(row[0])["origin"]["ticks"].rpartition("-")[2])


def cancels_of_working(
    connection: psycopg.Connection[Any], session: str, now_us: int, reason: str
) -> Sequence[Change]:
    """Return what ends the orders of a session that are not done, as the ledger has them."""
    rows = connection.execute(
        b"SELECT DISTINCT ON (order_id) account, client_order_id, event_type"
        b" FROM market.order_events WHERE starts_with(client_order_id, %s)"
        b" ORDER BY order_id, sequence_number DESC",
        (prefix_of(session),),
    ).fetchall()
    working = ("created", "accepted", "amended", "partially_filled")
    return [
        Change(account, name, "cancelled", "abandoned", now_us, reason=reason)
        for account, name, kind in sorted(rows)
        if kind in working
    ]


def _opening(connection: psycopg.Connection[Any], account: str) -> Opening | None:
    rows = connection.execute(
        b"SELECT DISTINCT ON (position_id) id, ticker, exchange, market, size_after::text,"
        b" cost_after::text, coalesce(price, 0)::text, cash_after::text"
        b" FROM market.position_events WHERE account = %s"
        b" ORDER BY position_id, sequence_number DESC",
        (account,),
    ).fetchall()
    if not rows:
        return None
    cash = units(max(rows)[7])  # of the account's last event
    held = {
        Instrument(*row[1:4]): Held(*map(units, row[4:7])) for row in sorted(rows) if units(row[4])
    }
    return Opening(cash, held)
