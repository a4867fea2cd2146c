"""ticklake catalog."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from infra.command.answer import Answer
from infra.command.verb import note, verb
from lake.errors import Unavailable
from lake.settings import Settings
from lake.state import postgres_dsn
from serving.search.entry import KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.catalog.facts import Facts
    from lake.clock import Clock
    from lake.contracts.contract import Contract
    from serving.search.entry import Entry

FOLDER = "catalog"


@click.group()
def catalog() -> None:
    """What data there is: a site of files that says it, and a search by meaning."""


@catalog.command()
@click.option(
    "-o",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where to; default the folder catalog of the home.",
)
@click.option("--contracts-only", is_flag=True, help="Ask no server: what contracts say, no more.")
@verb
def build(settings: Settings, folder: Path | None, contracts_only: bool) -> Answer:
    """Make the catalog anew: datasets, columns, freshness, size, sample rows, quality, lineage.

    Open its index.html: it needs no server and nothing from elsewhere. Rows are read as an analyst,
    so what that role may not see is not in it. Without servers it says what the contracts say.
    """
    from infra.catalog.site import Site, render, write
    from lake.clock import SystemClock, utc_from_us
    from lake.contracts.contract import DATASETS, load
    from lake.lineage.graph import graph
    from lake.lineage.statements import statement_edges
    from lake.queries.query import catalog as statements

    contracts = [load(name) for name in DATASETS]
    clock = SystemClock()
    silent, facts = "no server was asked", {}
    if not contracts_only:
        try:
            silent, facts = "", live_facts(settings, contracts, clock)
        except Unavailable as error:
            silent = str(error)
    made = utc_from_us(clock.now_us())
    site = Site(contracts, facts, graph(statement_edges()), statements(), made, silent)
    target = folder or settings.home / FOLDER
    target.parent.mkdir(parents=True, exist_ok=True)
    found = render(site)
    write(found, target)
    lines = [f"{target / 'index.html'}: {len(contracts)} datasets, {len(found)} files"]
    if silent:
        lines.append(f"contracts only: {silent}")
    document = {"folder": str(target), "files": sorted(found), "contracts_only": silent or None}
    return Answer(document, lines, holds=contracts_only or not silent)


@catalog.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="Only these.")
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True)
@verb
def search(
    settings: Settings, words: tuple[str, ...], kinds: tuple[Kind, ...], limit: int
) -> Answer:
    """Find datasets, columns, features, models, statements and verbs by what they mean.

    Ask as you would a colleague: ticklake catalog search how volatile was it. Words that mean the
    same in a market are known, and misspelt ones are taken for the nearest. No server is needed
    but for models.
    """
    from infra.command.main import GROUPS
    from lake.clock import SystemClock
    from serving.search.entry import Entry
    from serving.search.search import Search, found_row

    verbs = [
        Entry("verb", f"ticklake {name}", text, more=group)
        for group, each in GROUPS.items()
        for name, text in each.items()
    ]
    result = Search(settings.home, SystemClock(), verbs).ask(" ".join(words), limit, kinds)
    lines = [
        f"{each.entry.kind:9}  {each.entry.name}{_unit(each.entry)}\n           {each.entry.text}"
        for each in result.found
    ]
    if result.lacking:
        note(f"models are left out: {result.lacking}")
    document = {
        "found": [{**found_row(each), "because": dict(each.because)} for each in result.found],
        "lacking": result.lacking,
    }
    return Answer(document, lines or ["nothing is like that"], holds=bool(lines))


def _unit(entry: Entry) -> str:
    return f" [{entry.unit}]" if entry.unit else ""


def live_facts(settings: Settings, contracts: Sequence[Contract], clock: Clock) -> dict[str, Facts]:
    """Look at the home's stores; Unavailable where they are not up."""
    from infra.catalog.facts import facts_of
    from lake.clock import utc_from_us
    from lake.roles import role_dsn
    from lake.warehouse import warehouse_of

    return facts_of(
        contracts,
        postgres_dsn(settings.home),
        role_dsn(settings.home, "analyst"),
        warehouse_of(settings.home),
        utc_from_us(clock.now_us()),
    )
