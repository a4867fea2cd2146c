"""What the ledger says of accounts and orders when a session begins, or goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg

from feature_repo.ledger.commands import Cash, Change
from feature_repo.ledger.event_rows import equity_before, opened_with
from feature_repo.ledger.writer import Writer
from feature_repo.trading.limits import DAY_US
from feature_repo.trading.market import Instrument
from feature_repo.trading.money import MILLION, units
from lake.clock import utc_from_us
from lake.errors import Unavailable
from serving.session.orders import prefix_of
from serving.session.plan import Held, Opening, Plan, Start

OPENING = "opening"
"""Name of the command that gives a new account its money."""


def ensure(ledger: Writer, plan: Plan, now_us: int) -> None:
    """Give the plan's cash to the accounts that the ledger does not know."""
    for account in plan.strategies:
        ledger.commit([Cash(account, plan.cash, now_us, OPENING, "cash of a new account")])


def opened(
    connection: psycopg.Connection[Any],
    plan: Plan,
    shard: int,
    beside: Sequence[Start],
    started_us: int,
) -> dict[str, Opening]:
    """Return what a session that begins has of each account.

    beside: the other shards' sessions that are not closed. What they have, with what they traded
    since, is theirs; the rest of the cash is for the shards that have none, by their shares. So is
    what the account has lost since the UTC day began. Raises Unavailable where the share is not
    free yet.
    """
    mine = (None, shard)
    with connection.transaction():
        connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        found = {}
        for account in plan.strategies:
            others = [each for each in beside if account in each.plan.strategies]
            taken = sum(each.plan.share for each in others)
            if taken + plan.share > MILLION:
                fault = "is held by sessions of other shards, which have another share of it"
                raise Unavailable(f"account {account}", fault, "they begin anew; wait for it")
            cash, held = _stands(connection, account)
            theirs = [each.openings[account].cash for each in others]
            traded = [_traded(connection, account, each) for each in others]
            free = cash - sum(theirs) - sum(traded)
            part = free * plan.share // (MILLION - taken)
            names = held if plan.share < MILLION else ()
            elsewhere = {held[each][0] for each in names if _by(connection, each) not in mine}
            opening = Opening(part, dict(held.values()), frozenset(elsewhere))
            began = _began(connection, account, started_us)
            if began is not None:
                lost = began - replace(opening, cash=cash).worth
                began = opening.worth + lost * plan.share // MILLION
            found[account] = replace(opening, began=began)
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


def events_of(connection: psycopg.Connection[Any], session: str) -> int:
    """Return how many events of a session's orders the ledger has."""
    row = connection.execute(
        b"SELECT count(*) FROM market.order_events WHERE starts_with(client_order_id, %s)",
        (prefix_of(session),),
    ).fetchone()
    assert row is not None
    return int(row[0])


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


def _began(connection: psycopg.Connection[Any], account: str, started_us: int) -> int | None:
    """Return what an account was worth as a UTC day began; of one that is new, its first money."""
    found = equity_before(connection, account, started_us // DAY_US * DAY_US)
    return opened_with(connection, account) if found is None else found


def _stands(
    connection: psycopg.Connection[Any], account: str
) -> tuple[int, dict[str, tuple[Instrument, Held]]]:
    """Return the cash of an account, and what it holds by the ids of its positions."""
    rows = connection.execute(
        b"SELECT DISTINCT ON (position_id) id, ticker, exchange, market, size_after::text,"
        b" cost_after::text, coalesce(price, 0)::text, cash_after::text, position_id"
        b" FROM market.position_events WHERE account = %s"
        b" ORDER BY position_id, sequence_number DESC",
        (account,),
    ).fetchall()
    held = {
        row[8]: (Instrument(*row[1:4]), Held(*map(units, row[4:7])))
        for row in sorted(rows)
        if units(row[4])
    }
    return units(max(rows)[7]), held  # the cash after the account's last event


def _traded(connection: psycopg.Connection[Any], account: str, start: Start) -> int:
    """Return what the orders of a session brought an account, below zero what they cost."""
    row = connection.execute(
        b"SELECT coalesce(sum(CASE side WHEN 'buy' THEN -1 ELSE 1 END * round(price * size, 10)"
        b" - fee), 0)::text FROM market.order_events WHERE account = %s AND created_at > %s"
        b" AND starts_with(client_order_id, %s) AND event_type IN ('filled', 'partially_filled')",
        (account, utc_from_us(start.started_us - DAY_US), prefix_of(start.session)),
    ).fetchone()
    return units(row[0]) if row else 0


def _by(connection: psycopg.Connection[Any], position: str) -> int | None:
    """Return the shard whose session traded a position last; None where none did."""
    row = connection.execute(
        b"SELECT s.shard FROM (SELECT order_event_id FROM market.position_events WHERE"
        b" position_id = %s AND order_event_id IS NOT NULL ORDER BY sequence_number DESC LIMIT 1)"
        b" AS p JOIN market.order_events AS o ON o.id = p.order_event_id"
        b" JOIN market.live_sessions AS s ON s.number = 1"
        b" AND s.session = split_part(o.client_order_id, '/', 1)",
        (position,),
    ).fetchone()
    return None if row is None else int(row[0])
