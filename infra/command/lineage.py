"""ticklake lineage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.command.answer import Answer
from infra.command.verb import note, verb
from lake.errors import WrongUse
from lake.settings import Settings
from lake.state import postgres_dsn

if TYPE_CHECKING:
    from lake.lineage.graph import Edge, Graph

PICTURES = (".png", ".svg")
RUNS_MAX = 20


@click.command()
@click.argument("column", required=False)
@click.option("--up", "way", flag_value="up", help="Where did this come from? (the default)")
@click.option("--down", "way", flag_value="down", help="What breaks if I change this?")
@click.option("--both", "way", flag_value="both", help="Both ways.")
@click.option(
    "-o", "output", type=click.Path(path_type=Path), help="Draw it, to a file .png or .svg."
)
@click.option("--send", is_flag=True, help="Post waiting events to TICKLAKE_LINEAGE_URL now.")
@verb
def lineage(
    settings: Settings, column: str | None, way: str | None, output: Path | None, send: bool
) -> Answer:
    """Say what a column is made of, or what is made of it, step by step.

    COLUMN is as market.bars.vwap; market.bars stands for all columns of bars. It needs no server:
    contracts, views, the statements of `ticklake sql --list` and what is served online say it.
    Without COLUMN: what ran last, and how far the receiver of OpenLineage events is.

    \b
      ticklake lineage market.bars.vwap --up
      ticklake lineage market.crypto_trades.price --down -o price.svg
    """
    if output is not None and output.suffix.lower() not in PICTURES:
        raise WrongUse(f"-o {output}", "is no picture", f"name it {' or '.join(PICTURES)}")
    if column is None:
        if way or output:
            raise WrongUse("lineage", "no column is named", "name one, as market.bars.vwap")
        return sent(settings) if send else runs(settings)
    if send:
        raise WrongUse("lineage", "--send goes without a column", "leave one of them out")
    return asked(column, way or "up", output)


def asked(word: str, way: str, output: Path | None) -> Answer:
    """Answer for one column, or for all of a dataset."""
    from feature_repo.store.served_edges import served_edges
    from lake.lineage.graph import graph
    from lake.lineage.statements import statement_edges

    found = graph([*statement_edges(), *served_edges()])
    columns = found.find(word)
    ways = {"up": (True,), "down": (False,), "both": (True, False)}[way]
    walks = {up: found.walk(columns, up=up) for up in ways}
    edges = tuple(dict.fromkeys(edge for up in ways for edge in walks[up]))
    if output is not None:
        draw(edges, columns, output)
    lines = [
        line
        for up in ways
        for each in columns
        for line in tree(found, each, up=up, heading=len(ways) > 1)
    ]
    document: dict[str, Any] = {"columns": list(columns)}
    for up in ways:
        document["up" if up else "down"] = [
            {"source": edge.source, "target": edge.target, "how": edge.how} for edge in walks[up]
        ]
    return Answer(document, lines)


def draw(edges: Sequence[Edge], columns: Sequence[str], path: Path) -> None:
    """Write the picture."""
    from infra.lineage.layout import layout
    from infra.lineage.png import write_png
    from infra.lineage.svg import svg

    picture = layout(edges, columns)
    if path.suffix.lower() == ".svg":
        path.write_text(svg(picture, columns), encoding="utf-8")
    else:
        write_png(picture, columns, path)
    note(f"drew {path}")


def tree(graph: Graph, column: str, *, up: bool, heading: bool) -> Iterator[str]:
    """Yield a column and what is above or below it, indented; a part that came before is cut.

    What a step of statements shows is one line a statement.
    """
    if heading:
        yield "made of:" if up else "used by:"
    yield f"market.{column}"
    yield from _branches(graph, column, up, "  ", {column})


def _branches(graph: Graph, column: str, up: bool, indent: str, seen: set[str]) -> Iterator[str]:
    shown: set[str] = set()
    for edge in graph.sources(column) if up else graph.uses(column):
        end = edge.source if up else edge.target
        name = end.rpartition(".")[0] if end.startswith("query.") else end
        if name in shown:
            continue
        shown.add(name)
        again = end in seen and (graph.sources(end) if up else graph.uses(end))
        how = f"  {edge.how}" if edge.how else ""
        yield f"{indent}{'<' if up else '>'} {name}{how}{'  (see above)' if again else ''}"
        if end not in seen:
            seen.add(end)
            yield from _branches(graph, end, up, indent + "  ", seen)


def runs(settings: Settings) -> Answer:
    """Answer with the last events of the book and where the receiver is."""
    import psycopg

    from flows.lineage_to_endpoint import Endpoint, standing
    from lake.lineage.destination import destination

    with psycopg.connect(postgres_dsn(settings.home), autocommit=True) as connection:
        rows = connection.execute(_LAST, (RUNS_MAX,)).fetchall()
        url = destination(settings).url
        known = url and standing(connection, Endpoint(url))
    names = ("event_no", "event_time", "event_type", "job", "run_id", "writes")
    events = [dict(zip(names, row, strict=True)) for row in rows]
    lines = [
        f"{each['event_time']:%Y-%m-%d %H:%M:%S}  {each['event_type']:8}  {each['job']}"
        for each in events
    ] or ["nothing has run"]
    document: dict[str, Any] = {"events": events, "endpoint": None}
    if known:
        document["endpoint"] = {name: getattr(known, name) for name in known.__slots__}
        lines.append(known.line())
    return Answer(document, lines)


def sent(settings: Settings) -> Answer:
    """Post what waits; holds when nothing waits any more."""
    from flows.lineage_to_endpoint import Endpoint, send
    from lake.lineage.destination import destination

    to = destination(settings)
    if not to.url:
        raise WrongUse("lineage --send", "no receiver is set", "set TICKLAKE_LINEAGE_URL")
    endpoint = Endpoint(to.url, to.api_key)
    found = send(postgres_dsn(settings.home), endpoint)
    while found.waiting and not found.fault:
        found = send(postgres_dsn(settings.home), endpoint)
    document = {name: getattr(found, name) for name in found.__slots__}
    return Answer(document, [found.line()], holds=not found.waiting)


_LAST = """
SELECT event_no, event_time AT TIME ZONE 'UTC', event_type, job, run_id, writes
FROM market.lineage_events ORDER BY event_no DESC LIMIT %s
"""
