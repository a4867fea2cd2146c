"""ticklake ledger."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.command.answer import Answer
from infra.command.units import TIME, TIME_HELP, micros
from infra.command.verb import OLD_HELP, verb
from lake.errors import BadInput, WrongUse
from lake.settings import Settings

if TYPE_CHECKING:
    import psycopg

ROWS_SHOWN = 20


@click.group()
def ledger() -> None:
    """Orders as events: added, chained, anchored, and never changed."""


@ledger.command()
@click.argument("order", required=False)
@click.option("--account", default="", metavar="NAME", help="Orders of this account only.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=ROWS_SHOWN, show_default=True,
              help="Orders at most, newest first.")  # fmt: skip
@verb
def show(settings: Settings, order: str | None, account: str, limit: int) -> Answer:
    """List orders, or every event of one, and what its model said: by its id or client order id."""
    import psycopg

    from feature_repo.ledger.look import events_of, newest_orders
    from feature_repo.ledger.projection import project
    from lake.clock import SystemClock
    from lake.state import postgres_dsn

    dsn = postgres_dsn(settings.home)
    project(dsn, SystemClock())
    with psycopg.connect(dsn) as connection:
        rows = (
            events_of(connection, order, account)
            if order
            else newest_orders(connection, account, limit)
        )
        said = _predictions(connection, rows) if order else {}
    if order and not rows:
        raise BadInput(f"order {order}", "is not in the ledger", "see: ticklake ledger show")
    lines = [" ".join(f"{value}" for value in row.values() if value != "") for row in rows]
    lines += [line for line, _ in said.values()]
    found: dict[str, object] = {"events" if order else "orders": rows}
    if order:
        found["predictions"] = {name: row for name, (_, row) in said.items()}
    return Answer(found, lines or ["no order"])


def _predictions(
    connection: psycopg.Connection[Any], events: list[dict[str, str]]
) -> dict[str, tuple[str, dict[str, str] | None]]:
    """Return each prediction that orders followed: in words, and its row where it is stored."""
    from feature_repo.ledger.commands import PREDICTION

    origins = [json.loads(each["event_data"] or "{}").get("origin", {}) for each in events]
    names = [origin[PREDICTION] for origin in origins if PREDICTION in origin]
    if not names:
        return {}
    from serving.signals.stored import line_of, stored

    found = {}
    for name in names:
        row = stored(connection, name)
        shown = None if row is None else {key: str(value) for key, value in row.items()}
        found[name] = line_of(name, row), shown
    return found


@ledger.command()
@click.option("--as-of", "as_of", type=TIME, help=f"The moment; default now. {TIME_HELP}")
@click.option("--table", type=click.Choice(("orders", "fills", "positions", "positions_history",
              "portfolio_snapshots")), help="Show its rows, too.")  # fmt: skip
@verb
def replay(settings: Settings, as_of: datetime | None, table: str | None) -> Answer:
    """Make orders, fills, positions and snapshots of any moment, of the events alone.

    The same moment gives the same rows, which the digests say.
    """
    from feature_repo.ledger.replay import replay as made_of_events
    from lake.clock import SystemClock
    from lake.state import postgres_dsn

    at_us = micros(as_of) if as_of else SystemClock().now_us()
    found = made_of_events(postgres_dsn(settings.home), at_us)
    digests = found.digests()
    lines = [f"{found.events:,} events"]
    lines += [
        f"{name}: {rows.num_rows:,} rows, {digests[name]}" for name, rows in found.tables.items()
    ]
    document = {
        "events": found.events,
        "tables": {
            name: {"rows": rows.num_rows, "sha256": digests[name]}
            for name, rows in found.tables.items()
        },
    }
    if table:
        rows = found.tables[table].slice(0, ROWS_SHOWN).to_pylist()
        document["rows"] = [{key: str(value) for key, value in row.items()} for row in rows]
        lines += [" ".join(map(str, row.values())) for row in rows]
    return Answer(document, lines)


@ledger.command()
@click.option("--key", type=click.Path(path_type=Path), metavar="FILE",
              help="Public key, PEM; default: beside the private one.")  # fmt: skip
@click.option("--segments", is_flag=True, help="Every sealed segment's bytes, too.")
@verb
def verify(settings: Settings, key: Path | None, segments: bool) -> Answer:
    """Find events that were edited, deleted, inserted, reordered, or cut off behind an anchor.

    Ends with 1 where there are some. Give --key a copy of the public key that was kept elsewhere:
    whoever can sign can also replace the key that lies here.
    """
    from feature_repo.ledger.places import ledger_key, second_place
    from feature_repo.ledger.verify import verify as verified
    from lake.audit.signing import public_key_at, public_path
    from lake.clock import SystemClock
    from lake.state import postgres_dsn

    public = public_key_at(key or public_path(ledger_key(settings)))
    place = second_place(settings, SystemClock())
    found = verified(postgres_dsn(settings.home), place, public, segments=segments)
    last = f"the last: {found.anchors[-1].line()}" if found.anchors else "none yet"
    lines = [
        *found.faults,
        f"{found.events:,} events, {found.anchored:,} of them behind {len(found.anchors):,}"
        f" anchors in {place.words}; {last}",
    ]
    document = {
        "events": found.events,
        "anchored": found.anchored,
        "anchors": len(found.anchors),
        "segments": found.segments,
        "faults": found.faults,
        "key": public.id,
    }
    return Answer(document, lines, holds=not found.faults)


@ledger.command()
@verb
def anchor(settings: Settings) -> Answer:
    """Sign the ends of the chains and keep them in the second place, with what is new, sealed.

    The key is TICKLAKE_LEDGER_KEY or HOME/keys/ledger.pem, which the first anchor makes; the place
    TICKLAKE_LEDGER_PLACE or HOME/ledger. A flow does it every five minutes.
    """
    from feature_repo.ledger.anchor import make_anchor
    from feature_repo.ledger.places import ledger_key, second_place
    from lake.audit.signing import signer_at
    from lake.clock import SystemClock
    from lake.state import postgres_dsn

    clock = SystemClock()
    signer = signer_at(ledger_key(settings))
    place = second_place(settings, clock)
    made = make_anchor(postgres_dsn(settings.home), place, signer, clock)
    line = f"{made.line()}, in {place.words}" if made else "nothing new since the last anchor"
    return Answer({"anchor": made.said if made else None, "key": signer.public.id}, [line])


@ledger.command("import")
@click.option("--old", "dsn", metavar="DSN", help=OLD_HELP)
@click.option("--schema", default="public", show_default=True, help="Schema there.")
@click.option("--account", default="rrr", show_default=True, help="Account here.")
@verb
def import_(settings: Settings, dsn: str | None, schema: str, account: str) -> Answer:
    """Enter orders, positions and snapshots of an earlier database as opening events.

    Each row once, however often it is run; what does not fit is left out and said, and ends with 1.
    """
    from feature_repo.ledger.old_orders import import_orders
    from feature_repo.ledger.writer import Writer
    from lake.clock import SystemClock
    from lake.state import postgres_dsn

    address = dsn or settings.old_dsn
    if not address:
        raise WrongUse("ledger import", "names no earlier database", "TICKLAKE_OLD_DSN, or --old")
    with closing(Writer(postgres_dsn(settings.home), SystemClock())) as writer:
        found = import_orders(address, schema, account, writer)
    tables = {
        each.table: {"rows": each.rows, "new": each.new, "refused": each.refused} for each in found
    }
    holds = not any(each.refused for each in found)
    return Answer({"tables": tables}, [each.line() for each in found], holds)


@ledger.command()
@verb
def audit(settings: Settings) -> Answer:
    """Trace every order, fill and position to its events, and sign the result; a flow does it
    each quarter.

    Ends with 1 where one is not traced, or the ledger is not as it was written. The result is
    kept with those of `ticklake audit`.
    """
    from feature_repo.ledger.kept_audit import audit_and_keep
    from lake.clock import SystemClock
    from lake.state import postgres_dsn

    kept, lines = audit_and_keep(settings, postgres_dsn(settings.home), SystemClock())
    return Answer({**kept.document, "signature": kept.signature}, lines, kept.holds)
