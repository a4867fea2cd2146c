"""The audit of orders: is every order, fill and position traced to its events, and how many are.

Chains, anchors and sealed segments are verified; every order's events must be legal, one after the
other; what is kept is held against what the events alone give, as of one moment of the database.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

import duckdb
import psycopg

from feature_repo.ledger.commands import BY_HAND, NONE, ORIGIN, PREDICTION
from feature_repo.ledger.event_rows import CHAINS, ORDERS, POSITIONS, orders_in_turn
from feature_repo.ledger.lake_copy import copy_faults
from feature_repo.ledger.order_state import OrderState, fault_of, opened
from feature_repo.ledger.projection import PROJECTIONS, select_sql
from feature_repo.ledger.replay import take_events
from feature_repo.ledger.second_place import SecondPlace
from feature_repo.ledger.verify import FAULTS_MAX, Verified, verify
from lake.audit.signing import PublicKey
from lake.contracts.contract import load
from lake.views.client import Client
from lake.views.engine import HOT_EXTENSIONS, attach_hot, open_duckdb

TICKS = re.compile(r"\d+:\d+-\d+")
"""Frames of a shard, SHARD:FIRST-LAST."""


@dataclass(frozen=True, slots=True)
class Covered:
    """A table: rows that are kept or should be, and those of them that the events give."""

    rows: int
    traced: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """What an audit of orders found. origins: orders that name all they rest on, of all orders.

    copied: rows that the lake has as the hot tier has them; None where no lake was asked.
    """

    verified: Verified
    tables: dict[str, Covered]
    origins: Covered
    faults: list[str]
    copied: int | None = None

    @property
    def percent(self) -> str:
        """Return the share of rows traced to events, in percent; rounded down, so 100 is all."""
        rows = sum(each.rows for each in self.tables.values())
        traced = sum(each.traced for each in self.tables.values())
        hundredths = 10_000 * traced // rows if rows else 10_000
        return f"{hundredths // 100}.{hundredths % 100:02}"

    def document(self) -> dict[str, object]:
        """Return it for a signed result, as results of audits are kept."""
        found = self.verified
        return {
            "what": "orders",
            "holds": not self.faults,
            "coverage_percent": self.percent,
            "tables": {
                name: {"rows": each.rows, "traced": each.traced}
                for name, each in self.tables.items()
            },
            "origins": {"orders": self.origins.rows, "whole": self.origins.traced},
            "copied": self.copied,
            "events": found.events,
            "anchored": found.anchored,
            "anchors": len(found.anchors),
            "files": found.segments,
            "bytes": found.segment_bytes,
            "faults": self.faults,
        }

    def lines(self) -> list[str]:
        """Return it in words."""
        found = self.verified
        words = [
            f"{name}: {each.traced:,} of {each.rows:,} rows traced to events"
            for name, each in self.tables.items()
        ]
        return [
            f"coverage {self.percent} %, {found.events:,} events verified,"
            f" {found.anchored:,} behind {len(found.anchors):,} anchors",
            *words,
            f"{self.origins.traced:,} of {self.origins.rows:,} orders name what they rest on",
            *([] if self.copied is None else [f"{self.copied:,} rows alike in the lake"]),
            *self.faults,
        ]


def audit_orders(
    dsn: str, place: SecondPlace, public: PublicKey, lake: Client | None = None
) -> Coverage:
    """Audit everything that has been projected, and the lake's copy of it; changes nothing."""
    verified = verify(dsn, place, public, segments=True)
    faults = list(verified.faults)
    with closing(open_duckdb(HOT_EXTENSIONS)) as connection:
        attach_hot(connection, dsn)
        connection.execute("BEGIN")  # one moment of the database, however many readings
        rows = connection.execute(
            "SELECT ledger, projected_id, coalesce(moments_upto, 0) FROM pg.market.ledger_heads"
        ).fetchall()
        through = {str(ledger): int(upto) for ledger, upto, _ in rows}
        where = {chain: f"id <= {through[chain]}" for chain in CHAINS}
        take_events(connection, where, max(int(moment) for _, _, moment in rows))
        tables = {name: _covered(connection, name) for name in PROJECTIONS}
        faults += _between(connection)
    with psycopg.connect(dsn) as reading:
        origins, illegal = _folded(reading, through[ORDERS])
    faults += illegal
    faults += [
        f"{name}: {each.rows - each.traced:,} rows are not what the events give"
        for name, each in tables.items()
        if each.rows != each.traced
    ]
    copied = None
    if lake is not None:
        copied, apart = copy_faults(lake)
        faults += apart
    return Coverage(verified, tables, origins, faults[:FAULTS_MAX], copied)


def _covered(connection: duckdb.DuckDBPyConnection, name: str) -> Covered:
    """Hold a kept table against what the copied events give."""
    contract = load(name)
    names, key = ", ".join(contract.names), ", ".join(contract.key)
    connection.execute(f"CREATE TEMP TABLE made_{name} AS SELECT {names} FROM ({select_sql(name)})")
    kept, made = f"SELECT {names} FROM pg.market.{name}", f"SELECT {names} FROM made_{name}"
    row = connection.execute(
        f"SELECT (SELECT count(*) FROM (SELECT {key} FROM ({kept}) UNION SELECT {key} FROM"
        f" ({made}))), (SELECT count(*) FROM ({kept} INTERSECT {made}))"
    ).fetchone()
    assert row is not None
    return Covered(int(row[0]), int(row[1]))


def _between(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Yield where fills and positions do not go together."""
    fills = f"(SELECT * FROM pg.market.{ORDERS} WHERE event_type IN ('partially_filled', 'filled'))"
    changes = f"(SELECT * FROM pg.market.{POSITIONS} WHERE order_event_id IS NOT NULL)"
    same = (
        "f.id = p.order_event_id AND f.account = p.account AND f.ticker = p.ticker"
        " AND f.price = p.price AND f.size = abs(p.size) AND f.fee = p.fee"
    )
    row = connection.execute(
        f"SELECT (SELECT count(*) FROM {fills} AS f ANTI JOIN {changes} AS p ON {same}),"
        f" (SELECT count(*) FROM {changes} AS p ANTI JOIN {fills} AS f ON {same})"
    ).fetchone()
    assert row is not None
    if row[0]:
        yield f"{row[0]:,} fills changed no position, or not as they say"
    if row[1]:
        yield f"{row[1]:,} changes of positions are not of the fill they name"


def rests_on(origin: Mapping[str, str]) -> bool:
    """Tell whether an origin can be followed: frames, version of code, and of a model that decided
    the row of features that it spoke of, and what it said, where that is named.
    """
    if set(origin) - {PREDICTION} != set(ORIGIN) or origin["code"] in ("", NONE):
        return False
    if origin["ticks"] != NONE and not TICKS.fullmatch(origin["ticks"]):
        return False
    is_model = origin["model"] != NONE and not origin["model"].startswith(BY_HAND)
    rests = origin["features"], origin.get(PREDICTION, "of before")
    return not is_model or not {"", NONE}.intersection(rests)


def _folded(connection: psycopg.Connection, upto: int) -> tuple[Covered, list[str]]:
    """Fold every order; return how many name what they rest on, and what could not follow.

    One that rests on no ticks is whole where it was refused: there was no price to rest on.
    """
    orders = whole = 0
    lacks_ticks = False
    faults: list[str] = []
    state: OrderState | None = None
    for event in orders_in_turn(connection, upto):
        if state is None or state.first.order_id != event.order_id:
            state = None
        fault = fault_of(state, event)
        if fault and len(faults) < FAULTS_MAX:
            faults.append(f"order {event.client_order_id} of {event.account}: {fault}")
        if event.sequence_number == 1:
            state = opened(event)
            orders += 1
            origin = json.loads(event.data).get("origin", {})
            lacks_ticks = origin.get("ticks") == NONE
            whole += rests_on(origin) and not lacks_ticks
        elif state is not None:
            whole += lacks_ticks and rests_on(origin) and event.event_type == "rejected"
            state.apply(event)
    return Covered(orders, whole), faults
