"""ticklake bars."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING

import click

from infra.command.answer import Answer
from infra.command.units import TIME, TIME_HELP, micros
from infra.command.verb import verb
from lake.errors import WrongUse
from lake.settings import Settings
from lake.state import postgres_dsn
from lake.warehouse import warehouse_of

if TYPE_CHECKING:
    from flows.trades_to_bars import Step


@click.group()
def bars() -> None:
    """Bars of trades: 1s, 1m, 5m, 1h, 1d."""


@bars.command()
@click.option("--from", "first", type=TIME, help=f"Make bars anew from here on. {TIME_HELP}")
@click.option("--to", "last", type=TIME, help=f"Up to here, exclusive. {TIME_HELP}")
@verb
def build(settings: Settings, first: datetime | None, last: datetime | None) -> Answer:
    """Publish the bars of what is new; with --from and --to, make those of a time anew, too.

    Days whose trades are in the archive keep the bars that they have. The same call gives the same
    bars, and may be killed at any point. It needs no Prefect server.
    """
    from flows.trades_to_bars import TradesToBars
    from lake.lineage.destination import destination

    if (first is None) != (last is None):
        raise WrongUse("bars build", "--from and --to go together", "give both")
    dsn, warehouse = postgres_dsn(settings.home), warehouse_of(settings.home)
    grace_ms, namespace = settings.bars_grace_ms, destination(settings).namespace
    with TradesToBars(dsn, warehouse, grace_ms=grace_ms, namespace=namespace) as maker:
        steps, archived = maker.drain(), []
        if first is not None and last is not None:
            steps += maker.rebuild(micros(first), micros(last))
            archived = maker.archived(micros(first), micros(last))
    lines = [step.line() for step in steps] or ["nothing has changed"]
    lines += [
        f"{day}: its trades are in the archive: its bars stay as they are" for day in archived
    ]
    return Answer(document(steps, archived), lines)


def document(steps: list[Step], archived: list[date]) -> dict[str, object]:
    """Return what was done."""
    return {
        "archived": [f"{day}" for day in archived],
        "put": sum(step.put for step in steps),
        "dropped": sum(step.dropped for step in steps),
        "snapshots": [step.snapshot_id for step in steps],
    }
