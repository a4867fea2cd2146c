"""ticklake import."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from infra.command.answer import Answer
from infra.command.verb import OLD_HELP, verb
from lake.errors import WrongUse
from lake.settings import Settings

if TYPE_CHECKING:
    from flows.old_tables_to_journal import Old
    from flows.place import Place

CONSUMERS = ("dashboard", "backtests", "trading")


def of_old(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the options that name the earlier database."""
    for option in (
        click.option("--schema", default="public", show_default=True, help="Schema there."),
        click.option("--name", default="rrr", show_default=True, help="Its rows' name here."),
        click.option("--old", "dsn", metavar="DSN", help=OLD_HELP),
    ):
        command = option(command)
    return command


@click.group("import")
def import_() -> None:
    """An earlier database: its tables in, kept equal, compared, switched to and back.

    Known are RRRalgorithms' two schemas (event_time or timestamp, UUID or bigserial keys):
    crypto_aggregates, crypto_trades, crypto_quotes, market_sentiment go through the journal like
    any feed; every other table is listed and copied as it is. In order: tables, run, follow (for
    14 days at least), compare (each day), shadow (your queries), switch.
    """


def _sides(settings: Settings, dsn: str | None, name: str, schema: str) -> tuple[Old, Place]:
    from flows.old_tables_to_journal import Old
    from flows.place import place_of

    address = dsn or settings.old_dsn
    if not address:
        raise WrongUse("import", "names no earlier database", "TICKLAKE_OLD_DSN, or --old")
    if not (name.isidentifier() and name.isascii() and name.islower()):
        raise WrongUse(f"--name {name}", "is no plain name", "lower-case letters, for instance rrr")
    return Old(address, name, schema), place_of(settings.home)


@import_.command()
@of_old
@verb
def tables(settings: Settings, dsn: str | None, name: str, schema: str) -> Answer:
    """List the tables there, and what becomes of each."""
    from lake.history.old_database import old_tables

    old, _ = _sides(settings, dsn, name, schema)
    found = old_tables(old.dsn, old.schema)
    lines = [
        f"{each.name:24} about {each.rows:>12,} rows  "
        + (f"taken in by {each.time}" if each.is_market else f"copied to {name}_tables")
        for each in found
    ]
    rows = [{"table": e.name, "rows": e.rows, "market": e.is_market} for e in found]
    return Answer({"tables": rows}, lines or ["no table"])


@import_.command()
@of_old
@verb
def run(settings: Settings, dsn: str | None, name: str, schema: str) -> Answer:
    """Take in what is not in yet, day by day; stopped or repeated, it goes on.

    Orders, positions and snapshots are also opening events of the ledger, of the account --name;
    a row that does not fit is left out and said, and ends with 1. See: ticklake ledger import.
    """
    from contextlib import closing

    from feature_repo.ledger.old_orders import TABLES, import_orders
    from feature_repo.ledger.writer import Writer
    from flows.jobs import IMPORT
    from flows.old_tables_to_journal import import_all
    from infra.command.told import told
    from lake.clock import SystemClock

    old, place = _sides(settings, dsn, name, schema)
    with told(settings, IMPORT):
        done = import_all(old, place, SystemClock())
    lines = [each.line() for each in done]
    taken = []
    if any(each.table in TABLES for each in done):
        with closing(Writer(place.dsn, SystemClock())) as writer:
            taken = import_orders(old.dsn, old.schema, old.name, writer)
    lines += [f"ledger: {each.line()}" for each in taken]
    document = {
        "tables": [vars_of(each) for each in done],
        "ledger": [vars_of(each) for each in taken],
    }
    return Answer(document, lines, holds=not any(each.refused for each in taken))


@import_.command()
@of_old
@verb
def follow(settings: Settings, dsn: str | None, name: str, schema: str) -> Answer:
    """Take in what was written there since: dual-write. Also on a schedule, each minute."""
    from flows.jobs import FOLLOW
    from flows.old_tables_to_journal import follow as follow_all
    from infra.command.told import told
    from lake.clock import SystemClock

    sides = _sides(settings, dsn, name, schema)
    with told(settings, FOLLOW):
        done = follow_all(*sides, SystemClock())
    return Answer({"tables": [vars_of(each) for each in done]}, [each.line() for each in done])


@import_.command("write-back")
@of_old
@verb
def write_back(settings: Settings, dsn: str | None, name: str, schema: str) -> Answer:
    """Write what our own feeds brought since into that database: the other half of dual-write.

    The first call only notes where to begin. Also each minute, with TICKLAKE_OLD_WRITE=on.
    """
    from flows.new_rows_to_old import write_back as write_all

    done = write_all(*_sides(settings, dsn, name, schema))
    return Answer({"tables": [vars_of(each) for each in done]}, [each.line() for each in done])


@import_.command()
@of_old
@verb
def compare(settings: Settings, dsn: str | None, name: str, schema: str) -> Answer:
    """Compare both sides by table and day; ends with 1 where they differ."""
    from flows.old_and_new import compare as compare_all
    from lake.clock import SystemClock

    checks = compare_all(*_sides(settings, dsn, name, schema), SystemClock())
    differ = [each for each in checks if not each.equal]
    lines = [f"{each.table} {each.day}: {each.said}" for each in differ]
    lines.append(f"{len(checks) - len(differ):,} of {len(checks):,} days and tables are equal")
    rows = [{**vars_of(each), "day": str(each.day)} for each in checks]
    return Answer({"days": rows, "equal": not differ}, lines, holds=not differ)


@import_.command()
@click.argument("query")
@of_old
@verb
def shadow(settings: Settings, query: str, dsn: str | None, name: str, schema: str) -> Answer:
    """Ask both sides the same, compare rows and times; ends with 1 where the rows differ."""
    from flows.old_and_new import shadow as shadow_query
    from lake.clock import SystemClock

    found = shadow_query(*_sides(settings, dsn, name, schema), query, SystemClock())
    return Answer(vars_of(found), [found.line()], holds=found.equal)


@import_.command()
@click.argument("consumer", type=click.Choice(CONSUMERS))
@click.argument("side", type=click.Choice(("old", "new")), required=False)
@of_old
@verb
def switch(
    settings: Settings, consumer: str, side: str | None, dsn: str | None, name: str, schema: str
) -> Answer:
    """Say where a consumer reads, or move it: dashboard first, then backtests, then trading.

    To the new side after 14 days of dual-write and with today's comparison equal; back to the old
    one at once, for 30 days.
    """
    import psycopg

    from flows.place import place_of
    from lake.clock import SystemClock, utc_from_us
    from lake.hot.imports import move, side_of

    with psycopg.connect(place_of(settings.home).dsn, autocommit=True) as connection:
        if side is not None:
            move(connection, name, consumer, side, utc_from_us(SystemClock().now_us()))
        now = side_of(connection, name, consumer)
    return Answer({"consumer": consumer, "side": now}, [f"{consumer} reads the {now} side"])


def vars_of(each: Any) -> dict[str, Any]:
    """Return a value's fields."""
    return {name: getattr(each, name) for name in each.__slots__}
