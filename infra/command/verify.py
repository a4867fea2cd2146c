"""ticklake verify."""

from __future__ import annotations

import click

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.settings import Settings
from lake.verify.verify import verify as prove


@click.command()
@click.option("--full", is_flag=True, help="Trust no earlier proof; read everything again.")
@verb
def verify(settings: Settings, full: bool) -> Answer:
    """Prove from the loss ledger that no event was lost or doubled.

    Compares journal, hot tier and lake, and says exactly where they differ; ends with 1 then.
    Safe while ingest runs; costs what is new since the last proof.
    """
    report = prove(settings.home, full=full)
    return Answer(report.as_json(), [str(report)], report.holds)
