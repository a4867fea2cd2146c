"""ticklake cost."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from infra.command.answer import Answer
from infra.command.units import Count
from infra.command.verb import verb
from lake.errors import WrongUse
from lake.settings import Settings

if TYPE_CHECKING:
    from lake.cost.model import Cost, Lever


@click.command()
@click.option(
    "--events-per-second", "rate", type=Count(), default="100k", show_default=True, help="As 100k."
)
@click.option("--init", is_flag=True, help="Put the assumptions into the home, to be edited.")
@verb
def cost(settings: Settings, rate: int, init: bool) -> Answer:
    """Reckon what a rate of events costs a month, by tier, and what brings it under the budget.

    Ages are the contracts'; prices, bytes a row and everything else are assumptions, which
    `--init` writes to HOME/cost.yaml. Ends with 1 where no lever there reaches the budget.
    """
    from lake.cost.assumptions import FILE, default_text, read_assumptions
    from lake.cost.model import cost as reckon
    from lake.cost.model import levers

    if init:
        path = settings.home / FILE
        if path.exists():
            raise WrongUse(str(path), "is there already", "edit it, or remove it first")
        settings.home.mkdir(parents=True, exist_ok=True)
        path.write_text(default_text(), encoding="utf-8")
        return Answer({"file": path}, [f"edit {path}"])
    given = read_assumptions(settings.home)
    found, pulled = reckon(rate, given), levers(rate, given)
    budget = given.value("budget_dollars_month")
    total = min([found.total, *(each.total for each in pulled if each.needed)])
    return Answer(
        {
            "events_per_second": rate,
            "budget": budget,
            **found.document(),
            "levers": [asdict(each) for each in pulled],
            "reached": total,
        },
        [
            *part_lines(found),
            f"{'together':14} {found.total:>28,.0f} $ a month, budget {budget:,.0f}",
            *(lever_line(each) for each in pulled),
        ],
        holds=total <= budget,
    )


def lever_line(each: Lever) -> str:
    """Return what a lever saves, and whether the budget asks for it."""
    word = "needed:" if each.needed else "could be:"
    return f"  {word:9} {each.name:46} {-each.saved:>6,.0f} {each.total:>8,.0f} $"


def part_lines(found: Cost) -> list[str]:
    """Return a line per part: gigabytes or cores, and dollars."""
    lines = []
    for part, dollars in found.dollars.items():
        size = f"{found.gigabytes[part]:,.0f} GB" if part in found.gigabytes else ""
        size = f"{found.cores:,.0f} cores" if part == "compute" else size
        lines.append(f"{part:14} {size:>16} {dollars:>11,.0f} $")
    return lines
