"""ticklake upkeep."""

from __future__ import annotations

import click

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.errors import WrongUse
from lake.settings import Settings
from lake.state import postgres_dsn
from lake.warehouse import warehouse_of


@click.command()
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@verb
def upkeep(settings: Settings, tables: tuple[str, ...]) -> Answer:
    """Merge small files, expire snapshots, remove files that nobody needs; of all tables, or named.

    Ingest and the flows do this by themselves. It is safe while they run: each commit of theirs
    waits for one of these at most. Releases and tags read the same afterwards. Files stay 15
    minutes after they were let go of, so that running queries end in peace.
    """
    from flows.small_files_to_large import KEPT_DATASETS, keep
    from lake.clock import SystemClock
    from lake.lineage.destination import destination

    unknown = [name for name in tables if name not in KEPT_DATASETS]
    if unknown:
        choices = f"one of {', '.join(KEPT_DATASETS)}"
        raise WrongUse(f"upkeep {unknown[0]}", "no such table", choices)
    dsn, warehouse = postgres_dsn(settings.home), warehouse_of(settings.home)
    namespace = destination(settings).namespace
    kept = [
        keep(dsn, warehouse, SystemClock(), name, namespace=namespace)
        for name in tables or KEPT_DATASETS
    ]
    return Answer({"tables": [each.document() for each in kept]}, [each.line() for each in kept])
