"""Quality under Prefect: what is new every five minutes, and the anomaly models once a day.

What checks is loaded by the runs alone: its libraries take seconds, which the process that starts
them and makes bars meanwhile should not spend.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.place import place_of
from flows.scheduled.schedule import Schedule
from flows.scheduled.tries import Progress, in_one, micros, tried
from lake.errors import BadInput, Damaged
from lake.parts import ShowPart
from lake.quality.market_rules import INTERVALS
from lake.quality.rule import row_text

QUALITY_S_MAX = 1_800
TRAIN_S_MAX = 1_800

ROWS_SHOWN_MAX = 3


@tried("look at what is new")
def look(
    home: Path | None, first: datetime | None, last: datetime | None, show: ShowPart
) -> list[Any]:
    """Run every rule on the rows that came since the last run, or on those of [first, last)."""
    place = place_of(home)
    checks = import_module("flows.rows_to_quality").RowsToQuality(place.dsn, place.warehouse)
    with checks:
        if first is not None and last is not None:
            return [checks.again(micros(first), micros(last), show)]
        return list(checks.drain(show))


@flow(name="rows-to-quality", timeout_seconds=QUALITY_S_MAX)
def rows_to_quality(
    home: Path | None = None, first: datetime | None = None, last: datetime | None = None
) -> int:
    """Rules of contracts, markets and the anomaly model on what is new; results are a table.

    first, last: look at the rows of this time instead (last is exclusive; UTC where they name no
    zone). It fails where rows are wrong, and says which, by which rule, and what to do.
    """
    with in_one("quality") as show:
        runs = look(home, first, last, show)
    found = [(run.number, each) for run in runs for each in run.results if each.failed]
    create_table_artifact(
        key="quality",
        table=[
            {
                "run": number,
                "severity": each.rule.severity,
                "rule": f"{each.rule.dataset}.{each.rule.name}",
                "rows": each.failed,
                "of": each.checked,
                "first": row_text(each.rows[0]) if each.rows else "",
                "what to do": each.rule.remedy,
            }
            for number, each in found
        ],
        description="; ".join(run.line() for run in runs),
    )
    errors = [(number, each) for number, each in found if each.rule.severity == "error"]
    if errors:
        raise broken(errors)
    return len(found)


def broken(errors: list[tuple[int, Any]]) -> Damaged:
    """Return what a failed run says: rows, rule, what to do."""
    said = [
        f"run {number}: {each.failed:,} rows of {each.rule.dataset} break {each.rule.name}"
        f" ({each.rule.meaning}) {'; '.join(map(row_text, each.rows[:ROWS_SHOWN_MAX]))}"
        for number, each in errors
    ]
    remedies = sorted({each.rule.remedy for _, each in errors})
    return Damaged(
        "quality",
        ". ".join(said),
        f"{'; '.join(remedies)}; all rows: ticklake quality show {errors[0][0]}",
    )


@tried("train a model")
def train(home: Path | None, interval: str) -> str:
    """Train the next version of an interval's model; too few bars leave the one before."""
    place = place_of(home)
    try:
        trainer = import_module("flows.bars_to_anomaly_model")
        model = trainer.train(place.dsn, place.warehouse, interval)
    except BadInput as error:
        return f"{interval}: no new model: {error}"
    return f"{interval}: version {model.version}, limit {model.limit:.1f}"


@flow(name="bars-to-anomaly-model", timeout_seconds=TRAIN_S_MAX)
def bars_to_anomaly_model(home: Path | None = None) -> list[str]:
    """Anomaly models of bars, one an interval, trained on the last 90 days; versions are kept."""
    progress = Progress("models")
    lines = []
    for done, interval in enumerate(INTERVALS, 1):
        lines.append(train(home, interval))
        progress.show(done / len(INTERVALS))
    create_markdown_artifact("\n".join(f"- {line}" for line in lines), key="anomaly-models")
    return lines


QUALITY = Schedule("quality", rows_to_quality, timedelta(minutes=5), at=timedelta(minutes=3))
ANOMALY_MODEL = Schedule(
    "anomaly-model", bars_to_anomaly_model, timedelta(days=1), at=timedelta(minutes=35)
)
