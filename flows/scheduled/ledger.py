"""The ledger of orders under Prefect: tables kept up, anchors made, and an audit each quarter."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from feature_repo.ledger.anchor import make_anchor
from feature_repo.ledger.kept_audit import audit_and_keep
from feature_repo.ledger.places import ledger_key, second_place
from feature_repo.ledger.projection import project
from flows.place import place_of
from flows.scheduled.schedule import Schedule
from flows.scheduled.tries import in_one, tried
from lake.audit.signing import signer_at
from lake.clock import SystemClock
from lake.errors import Damaged
from lake.parts import ShowPart

ANCHOR_S_MAX = 600
AUDIT_S_MAX = 6 * 3_600
ANCHOR_EVERY = timedelta(minutes=5)
"""What was written longer ago than this, and a run, is behind an anchor."""

QUARTER = timedelta(days=91)


@tried("anchor the ledger")
def anchor_ledger(home: Path | None, show: ShowPart) -> str:
    """Bring the tables of orders up to the events, then sign and seal what is new."""
    place = place_of(home)
    clock = SystemClock()
    done = project(place.dsn, clock)
    show(0.5)
    signer = signer_at(ledger_key(place.settings))
    made = make_anchor(place.dsn, second_place(place.settings, clock), signer, clock)
    taken = f"{done.events:,} events, {done.snapshots:,} snapshots of accounts"
    return f"{taken}; {made.line() if made else 'nothing new to anchor'}"


@flow(name="ledger-to-anchor", timeout_seconds=ANCHOR_S_MAX)
def ledger_to_anchor(home: Path | None = None) -> str:
    """Tables of orders brought up to their events; the ends of the chains signed and sealed."""
    with in_one("ledger") as show:
        line = anchor_ledger(home, show)
    create_markdown_artifact(line, key="ledger")
    return line


@tried("audit the orders")
def audit_orders(home: Path | None, show: ShowPart) -> tuple[bool, list[str]]:
    """Trace every order, fill and position to its events; sign the result and keep it."""
    place = place_of(home)
    kept, lines = audit_and_keep(place.settings, place.dsn, SystemClock(), show)
    return kept.holds, lines


@flow(name="orders-to-audit", timeout_seconds=AUDIT_S_MAX)
def orders_to_audit(home: Path | None = None) -> str:
    """The quarter's audit of orders: coverage by their events, in percent, signed and kept."""
    with in_one("audit of orders") as show:
        holds, lines = audit_orders(home, show)
    create_markdown_artifact("\n".join(f"- {line}" for line in lines), key="orders-audit")
    if not holds:
        raise Damaged("audit of orders", "; ".join(lines), "see: ticklake ledger verify")
    return lines[0]


LEDGER = Schedule("ledger", ledger_to_anchor, ANCHOR_EVERY, at=timedelta(minutes=4))
ORDER_AUDIT = Schedule("order-audit", orders_to_audit, QUARTER, at=timedelta(hours=20, minutes=35))
