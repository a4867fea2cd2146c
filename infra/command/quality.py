"""ticklake quality."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import psycopg

from infra.command.answer import Answer
from infra.command.units import TIME, TIME_HELP, micros
from infra.command.verb import verb
from lake.contracts.contract import DATASETS
from lake.errors import WrongUse
from lake.quality.rule import row_text
from lake.settings import Settings
from lake.state import postgres_dsn
from lake.warehouse import warehouse_of

if TYPE_CHECKING:
    from flows.rows_to_quality import Run

RESULTS_MAX = 100
ROWS_SHOWN_MAX = 20


@click.group()
def quality() -> None:
    """Rules of contracts, markets and an anomaly model; what broke them, and where."""


@quality.command()
@click.option("--from", "first", type=TIME, help=f"Look at rows from here on. {TIME_HELP}")
@click.option("--to", "last", type=TIME, help=f"Up to here, exclusive. {TIME_HELP}")
@verb
def run(settings: Settings, first: datetime | None, last: datetime | None) -> Answer:
    """Look at what came since the last run; with --from and --to, at the rows of a time.

    Ends with 1 when rows are wrong. Warnings are of what is unusual, a crash for instance; nothing
    is ever dropped for either. Results are the dataset quality_results. It needs no Prefect server.
    """
    from flows.jobs import QUALITY
    from flows.rows_to_quality import RowsToQuality
    from infra.command.told import told

    if (first is None) != (last is None):
        raise WrongUse("quality run", "--from and --to go together", "give both")
    dsn, warehouse = postgres_dsn(settings.home), warehouse_of(settings.home)
    with told(settings, QUALITY), RowsToQuality(dsn, warehouse) as checks:
        if first is not None and last is not None:
            runs = [checks.again(micros(first), micros(last))]
        else:
            runs = checks.drain()
    lines = []
    for each in runs:
        lines.append(each.line())
        for result in (*each.errors, *each.warnings):
            lines += [f"  {result.line()}", f"           do: {result.rule.remedy}"]
        if each.errors or each.warnings:
            lines.append(f"  rows at fault: ticklake quality show {each.number}")
    document = {"runs": [as_document(each) for each in runs]}
    return Answer(document, lines, holds=not any(each.errors for each in runs))


@quality.command("list")
@click.option("--all", "every", is_flag=True, help="Rules that hold, too.")
@verb
def list_all(settings: Settings, every: bool) -> Answer:
    """List each rule's newest result, of those that were broken then."""
    from lake.quality.book import latest

    with psycopg.connect(postgres_dsn(settings.home)) as connection:
        found = latest(connection, every=every)
    lines = [
        f"run {row['run_id']}  {row['severity'] if row['status'] == 'failed' else 'passed':8}"
        f" {row['dataset']}.{row['rule']}: {row['rows_failed']:,} of {row['rows_checked']:,} rows"
        for row in found[:RESULTS_MAX]
    ]
    return Answer({"results": found}, lines or ["no rule was broken when it was last asked"])


@quality.command()
@click.argument("run", type=int, metavar="RUN")
@click.argument("rule", required=False)
@verb
def show(settings: Settings, run: int, rule: str | None) -> Answer:
    """Show what a run found, with the rows at fault; RULE: of this rule alone.

    --json names up to a thousand rows a rule, lines the first twenty.
    """
    from lake.quality.book import of_run

    with psycopg.connect(postgres_dsn(settings.home)) as connection:
        found = of_run(connection, run)
    if not found:
        raise WrongUse(f"run {run}", "has no results", "see: ticklake quality list")
    found = [row for row in found if rule is None or rule == row["rule"]]
    lines: list[str] = []
    for row in found:
        lines += shown(row)
    return Answer({"run": run, "results": found}, lines or [f"run {run} asked no rule {rule}"])


@quality.command()
@click.option("--interval", default="1m", help="Interval of the bars: 1m, 5m or 1h.")
@verb
def train(settings: Settings, interval: str) -> Answer:
    """Train the anomaly model of an interval's bars anew; the version before is kept."""
    from flows.bars_to_anomaly_model import train as trained

    dsn, warehouse = postgres_dsn(settings.home), warehouse_of(settings.home)
    model = trained(dsn, warehouse, interval)
    line = f"{interval}: version {model.version}, squared distance at most {model.limit:.1f}"
    return Answer(model.parameters(), [line])


@quality.command()
@click.argument("dataset", type=click.Choice(DATASETS))
@verb
def suite(settings: Settings, dataset: str) -> Answer:
    """Print the Great Expectations suite that a dataset's contract gives."""
    from flows.expectations import suite_of
    from lake.contracts.contract import load

    document: dict[str, Any] = suite_of(load(dataset)).to_json_dict()
    return Answer(document, [json.dumps(document, indent=2)])


def shown(row: dict[str, Any]) -> list[str]:
    """Return a result in lines."""
    if row["status"] == "passed":
        return [f"passed   {row['dataset']}.{row['rule']}: {row['rows_checked']:,} rows"]
    rows = row["rows_at_fault"]
    lines = [
        f"{row['severity']:8} {row['dataset']}.{row['rule']}: {row['rows_failed']:,} of"
        f" {row['rows_checked']:,} rows; {row['meaning']}",
        *(f"    {row_text(each)}" for each in rows[:ROWS_SHOWN_MAX]),
    ]
    if row["rows_failed"] > ROWS_SHOWN_MAX:
        lines.append(f"    and {row['rows_failed'] - ROWS_SHOWN_MAX:,} more")
    return [*lines, f"    do: {row['remedy']}"]


def as_document(run: Run) -> dict[str, Any]:
    """Return a run as JSON has it."""
    return {
        "run": run.number,
        "errors": len(run.errors),
        "warnings": len(run.warnings),
        "results": [
            {
                "dataset": each.rule.dataset,
                "rule": each.rule.name,
                "kind": each.rule.kind,
                "severity": each.rule.severity,
                "checked": each.checked,
                "failed": each.failed,
                "rows": each.rows,
                "remedy": each.rule.remedy,
            }
            for each in run.results
        ],
    }
