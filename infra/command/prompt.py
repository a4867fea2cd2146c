"""The interactive SQL prompt."""

from __future__ import annotations

import atexit
import readline
import shutil
from pathlib import Path

import click
import duckdb

from lake.client import Client, query_error
from lake.errors import TicklakeError, WrongUse
from lake.views.engine import without_passwords

FIRST = "ticklake> "
NEXT = "     ...> "
WELCOME = "SQL of DuckDB; end a query with ; - .help says what else there is, .quit leaves."
HELP = """\
SELECT ...;        rows of a query; several statements at once show their rows in turn
.tables            what can be asked: crypto_trades (lake and hot, each row once), lake.*, hot.*
DESCRIBE NAME;     columns of a table; SUMMARIZE NAME; what they hold
COPY (SELECT ...) TO 'file.parquet';  rows to a file (.csv, .json, .parquet)
Ctrl-C             drops what was begun, or stops a query
.quit, Ctrl-D      leaves; earlier lines come back with the arrow keys, next time too
Ready statements: ticklake sql --list. As another role or on a release: --role, --release."""
TABLES = (
    "FROM (SELECT table_schema AS schema, table_name AS name, count(*) AS columns"
    " FROM information_schema.columns WHERE table_catalog = current_database() GROUP BY ALL)"
    " ORDER BY schema <> 'main', schema, name"
)
HISTORY_LINES_MAX = 10_000
ROWS_SHOWN_MAX = 60


def converse(client: Client, history: Path) -> None:
    """Read queries and show their rows until the user leaves; an error ends only its query."""
    remember(history)
    click.echo(WELCOME)
    while (query := read_query()) is not None:
        if query == ".help":
            click.echo(HELP)
        else:
            answer(client, TABLES if query == ".tables" else query)


def remember(history: Path) -> None:
    """Keep the lines of earlier prompts."""
    if history.exists():
        readline.read_history_file(history)
    readline.set_history_length(HISTORY_LINES_MAX)
    atexit.register(readline.write_history_file, history)


def read_query() -> str | None:
    """Return the next query, or None when the user leaves. Ctrl-C drops what was begun."""
    lines: list[str] = []
    while True:
        try:
            lines.append(input(NEXT if lines else FIRST).rstrip())
        except EOFError:
            click.echo()
            return None
        except KeyboardInterrupt:
            click.echo()
            lines = []
            continue
        if lines[0] in (".quit", ".exit", "exit", "quit"):
            return None
        if lines[0] in (".tables", ".help") or lines[-1].endswith(";"):
            return "\n".join(lines)
        if not lines[0]:
            lines = []


def show_table(relation: duckdb.DuckDBPyRelation) -> None:
    """Print rows as a table as wide as the terminal, long ones with their middle left out."""
    width = shutil.get_terminal_size((120, 24)).columns
    relation.show(max_width=width, max_rows=ROWS_SHOWN_MAX)


def shown_error(error: TicklakeError, cause: BaseException | None) -> str:
    """Return DuckDB's own lines for a wrong query, since they point at its place; else ours."""
    pointed = isinstance(cause, duckdb.Error) and isinstance(error, WrongUse)
    return without_passwords(str(cause).strip()) if pointed else str(error)


def answer(client: Client, query: str) -> None:
    """Show the rows of each statement in turn, or in one line why there are none."""
    try:
        for statement in client.statements(query):
            relation = client.sql(statement)
            if relation is not None:
                show_table(relation)
    except duckdb.Error as error:
        click.echo(shown_error(query_error(error), error), err=True)
    except TicklakeError as error:
        click.echo(shown_error(error, error.__cause__), err=True)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
