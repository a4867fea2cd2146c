"""Gaps on record under Prefect: filled from the venues' histories, and backfills by hand."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact

from flows.gaps_to_history import Gaps, fill_gaps
from flows.place import place_of
from flows.scheduled.schedule import Schedule
from flows.scheduled.tries import in_one, tried
from lake.clock import SystemClock
from lake.errors import Refused
from lake.parts import ShowPart

GAPS_S_MAX = 3_600
EVERY_MINUTES = 15


@tried("fill gaps")
def fill_all(home: Path | None, show: ShowPart) -> list[Gaps]:
    """Ask the venues for what was missed, through the journal of whoever owns the tickers."""
    return fill_gaps(place_of(home), SystemClock(), parts=show)


@flow(name="gaps-to-history", timeout_seconds=GAPS_S_MAX)
def gaps_to_history(home: Path | None = None) -> int:
    """Gaps of connections and holes in trade ids, filled from Massive, Coinbase, Kraken, Binance.

    What is taken in rebuilds exactly the bars it touches. A gap whose venue does not answer stays
    on record and is asked for again; the run then fails and says why.
    """
    with in_one("gaps") as show:
        found = fill_all(home, show)
    create_table_artifact(
        key="gaps",
        table=[
            {
                "feed": each.feed,
                "shard": each.shard,
                "gaps": len(each.rows),
                "filled": len(each.filled),
                "faults": "; ".join(sorted(set(each.faults.values()))),
            }
            for each in found
        ],
        description=f"{sum(len(each.filled) for each in found):,} gaps filled",
    )
    faults = sorted({fault for each in found for fault in each.faults.values()})
    if faults:
        raise Refused("gaps", "; ".join(faults), "the others are filled; these are asked for again")
    return sum(len(each.filled) for each in found)


GAPS = Schedule("gaps", gaps_to_history, timedelta(minutes=EVERY_MINUTES), at=timedelta(minutes=6))
