"""ticklake release."""

from __future__ import annotations

from typing import Any

import click
import psycopg

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.settings import Settings
from lake.state import postgres_dsn
from lake.warehouse import warehouse_of


@click.group()
def release() -> None:
    """Cuts across all lake tables at one watermark, by name, that stay as they are."""


@release.command()
@click.argument("name")
@verb
def create(settings: Settings, name: str) -> Answer:
    """Name what all tables hold now; says which table lacks what, or is ahead of the ticks.

    Read it with `ticklake sql --release NAME`, in either engine; in Trino it is the schema
    ticklake."release-NAME", with tildes for dots.
    """
    from lake.clock import SystemClock
    from lake.lineage.destination import destination
    from lake.releases import release as releases
    from lake.trino_session import connect_trino, trino_of

    dsn, warehouse = postgres_dsn(settings.home), warehouse_of(settings.home)
    namespace = destination(settings).namespace
    parts = releases.create(dsn, warehouse, name, SystemClock(), namespace=namespace)
    if trino_of(settings.home):
        from lake.releases.trino_release import publish_release

        with connect_trino(settings.home) as session:
            publish_release(session, name, parts)
    lacking = releases.absent(dsn, parts)
    lines = [part.line() for part in parts]
    lines += [f"{dataset:20} is not in it: {words}" for dataset, words in lacking.items()]
    return Answer({**document(name, parts), "absent": lacking}, lines)


@release.command("list")
@verb
def list_all(settings: Settings) -> Answer:
    """List the releases with their parts, oldest first."""
    from lake.releases import release as releases

    lines: list[str] = []
    found = []
    with psycopg.connect(postgres_dsn(settings.home)) as connection:
        for name in releases.names(connection):
            parts = releases.parts_of(connection, name)
            found.append(document(name, parts))
            lines += [name, *(f"  {part.line()}" for part in parts)]
    return Answer({"releases": found}, lines or ["no release"])


@release.command()
@click.argument("one")
@click.argument("other")
@verb
def diff(settings: Settings, one: str, other: str) -> Answer:
    """Count the rows that are in one release and not in the other, by dataset.

    Ends with 1 when there are any.
    """
    from lake.releases.difference import difference

    found = difference(postgres_dsn(settings.home), warehouse_of(settings.home), one, other)
    lines = [f"{each.dataset:20} {each.only_one:,} only in {one}, {each.only_other:,} only in"
             f" {other}" for each in found if each.only_one or each.only_other]  # fmt: skip
    rows = [vars_of(each) for each in found]
    return Answer({"datasets": rows}, lines or ["no difference"], holds=not lines)


@release.command()
@click.argument("name")
@verb
def drop(settings: Settings, name: str) -> Answer:
    """Forget a release; what only it needed goes with the next upkeep."""
    from lake.releases import release as releases
    from lake.trino_session import connect_trino, trino_of

    if trino_of(settings.home):
        from lake.releases.trino_release import withdraw_release

        with connect_trino(settings.home) as session:
            withdraw_release(session, name)
    removed = releases.drop(postgres_dsn(settings.home), warehouse_of(settings.home), name)
    return Answer({"name": name, "tags": removed}, [f"{name} is forgotten, {removed} tags removed"])


def document(name: str, parts: Any) -> dict[str, Any]:
    """Return a release as JSON has it."""
    return {"name": name, "parts": [vars_of(part) for part in parts]}


def vars_of(part: Any) -> dict[str, Any]:
    """Return a value's fields."""
    return {name: getattr(part, name) for name in part.__slots__}
