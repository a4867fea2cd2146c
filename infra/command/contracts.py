"""ticklake contracts."""

from __future__ import annotations

from dataclasses import asdict

import click

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.contracts import compare
from lake.contracts.contract import DATASETS, load
from lake.contracts.data_dictionary import markdown
from lake.settings import Settings


@click.group()
def contracts() -> None:
    """What each dataset promises."""


@contracts.command()
@verb
def check(settings: Settings) -> Answer:
    """Compare the contracts with their last release.

    Ends with 1 when a promise is broken.
    """
    findings = compare.check()
    lines = [str(finding) for finding in findings]
    kept = f"{len(DATASETS)} contracts keep what was released"
    return Answer(
        {"holds": not findings, "findings": [asdict(finding) for finding in findings]},
        lines or [kept],
        holds=not findings,
    )


@contracts.command()
@click.argument("datasets", nargs=-1, metavar="[DATASET]...", type=click.Choice(DATASETS))
@verb
def show(settings: Settings, datasets: tuple[str, ...]) -> Answer:
    """Print the data dictionary, of all datasets or these, as Markdown."""
    chosen = datasets or DATASETS
    return Answer({name: asdict(load(name)) for name in chosen}, [markdown(chosen)])
