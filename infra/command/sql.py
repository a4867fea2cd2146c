"""ticklake sql."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import duckdb

from infra.command import library
from infra.command.answer import Answer
from infra.command.prompt import converse, show_table
from infra.command.verb import note, verb
from lake.client import connect, query_error
from lake.errors import BadInput, WrongUse
from lake.in_memory import in_memory
from lake.roles import ROLES
from lake.settings import Settings
from lake.views.engine import quote

COPY_OPTIONS = {
    "csv": "FORMAT csv, HEADER true",
    "json": "FORMAT json, ARRAY true",
    "parquet": "FORMAT parquet, COMPRESSION zstd",
}
FORMATS = ("table", *COPY_OPTIONS)
ENGINES = ("duckdb", "trino")


@click.command()
@click.argument("words", nargs=-1, metavar="[QUERY | NAME=VALUE...]")
@click.option("--list", "listed", is_flag=True, help="List the library's statements.")
@click.option(
    "--show", metavar="STATEMENT", help="Print one of them; with values, as it would run."
)
@click.option("--query", "name", metavar="STATEMENT", help="Run one: --query vwap since=now-1h.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default table, or the file's.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the rows to a file, by its ending .csv, .json or .parquet.",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default=ENGINES[0],
    show_default=True,
    help="Who answers; trino in the stack profile.",
)
@click.option(
    "--role",
    type=click.Choice(list(ROLES)),
    default="analyst",
    show_default=True,
    help="As whom (see: ticklake roles).",
)
@click.option("--release", metavar="NAME", help="Ask a release; by default what there is now.")
@verb
def sql(
    settings: Settings,
    words: tuple[str, ...],
    listed: bool,
    show: str | None,
    name: str | None,
    form: str | None,
    output: Path | None,
    engine: str,
    role: str,
    release: str | None,
    as_json: bool,
) -> Answer | None:
    """Query `crypto_trades` (fresh, each row once), `lake.crypto_trades`, ...

    Without a query: a prompt, or the query from standard input. Times are UTC, numbers exact.
    --list has ready ones, for either engine: candles, VWAP, spreads, ...
    """
    if sum((listed, show is not None, name is not None)) > 1:
        raise WrongUse("--list, --show, --query", "are three things", "choose one")
    if listed:
        return library.listed(words)
    if show is not None:
        return library.shown(show, words, engine)
    query = library.bound(name, words, engine) if name is not None else only(words)
    form = chosen_format(form, output, as_json)
    ask(settings.home, query, form, output, engine, role, release)
    return None


def only(words: Sequence[str]) -> str | None:
    """Return the query among the words; WrongUse for several."""
    if len(words) > 1:
        raise WrongUse(
            "query", "is more than one word of the shell", 'put it in quotes: "SELECT 1"'
        )
    return words[0] if words else None


def ask(
    home: Path,
    query: str | None,
    form: str,
    output: Path | None,
    engine: str,
    role: str,
    release: str | None,
) -> None:
    """Show what the engine answers a role; the prompt where no query is given at a terminal."""
    if output is not None and output.exists() and not output.is_file():
        raise BadInput(str(output), "is no regular file, which we would replace", "use another -o")
    if engine == "trino":
        ask_trino(home, role, release, query, form, output)
        return
    with connect(home, role=role, release=release) as client:
        if sys.stdout.isatty():
            client.duckdb.execute("SET enable_progress_bar = true")
        if query is None and sys.stdin.isatty() and output is None:
            converse(client, home / "run" / "sql_history")
            return
        *earlier, last = client.statements(asked(query)) or [""]
        for statement in earlier:
            show_earlier(client.sql(statement), form)
        relation = client.sql(last)
        if relation is not None:
            show_rows(relation, form, output)


def show_earlier(relation: duckdb.DuckDBPyRelation | None, form: str) -> None:
    """Show the rows of a statement that others follow; a file or document has room for one's."""
    if relation is None:
        return
    if form != "table":
        raise WrongUse("query", f"has several answers, {form} holds one", "ask one at a time")
    show_rows(relation, form, None)


def asked(query: str | None) -> str:
    """Return the query, from standard input where none is given; WrongUse for an empty one."""
    text = query if query is not None else sys.stdin.read()
    if not text.strip():
        raise WrongUse("query", "is empty", 'write one, as "SELECT count(*) FROM crypto_trades"')
    return text


def ask_trino(
    home: Path,
    role: str,
    release: str | None,
    query: str | None,
    form: str,
    output: Path | None,
) -> None:
    """Show what Trino answers, by the same means."""
    if query is None and sys.stdin.isatty():
        raise WrongUse("--engine trino", "has no prompt here", "give a query, or use Trino's CLI")
    from lake.releases.trino_release import connect_release
    from lake.trino_session import connect_trino

    text = asked(query).strip().removesuffix(";")
    opened = connect_release(home, role, release) if release else connect_trino(home, role)
    with opened as session, in_memory() as shower:
        show_rows(shower.from_arrow(session.arrow(text)), form, output)


def chosen_format(form: str | None, output: Path | None, as_json: bool) -> str:
    """Return the output's format; WrongUse where the options say two things or nothing."""
    if as_json:
        form = form or "json"
        if form != "json" or output is not None:
            raise WrongUse("--json", "means rows as JSON on standard output", "leave out the rest")
    if form is None:
        form = output.suffix[1:].lower() if output else "table"
    if form not in (COPY_OPTIONS if output else FORMATS):
        raise WrongUse("--output", "names no format", f"--format {' or '.join(COPY_OPTIONS)}")
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise WrongUse("--format parquet", "is nothing for a terminal", "add -o FILE")
    return form


def show_rows(relation: duckdb.DuckDBPyRelation, form: str, output: Path | None) -> None:
    """Write a query's rows; a file appears whole or not at all."""
    if form == "table":
        try:
            show_table(relation)
        except duckdb.Error as error:
            raise query_error(error) from error
        return
    try:
        folder = output.resolve().parent if output else None
        with tempfile.TemporaryDirectory(prefix=".ticklake-", dir=folder) as place:
            rows = Path(place) / "rows"
            copy(relation, form, rows)
            if output is None:
                sys.stdout.flush()
                with rows.open("rb") as file:
                    shutil.copyfileobj(file, sys.stdout.buffer)
                return
            os.replace(rows, output)
    except OSError as error:
        raise BadInput(str(output or "output"), str(error.strerror), "use another -o") from error
    note(f"wrote {output}")


def copy(relation: duckdb.DuckDBPyRelation, form: str, path: Path) -> None:
    """Write a relation to a file by DuckDB, which keeps decimals exact in every format."""
    view = "ticklake_answer"
    try:
        relation.query(view, f"COPY {view} TO {quote(str(path))} ({COPY_OPTIONS[form]})")
    except duckdb.Error as error:
        raise query_error(error) from error
