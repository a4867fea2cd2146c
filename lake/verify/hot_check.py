"""Hot tier against ledger, partition by partition.

A partition whose rows were neither updated nor deleted since it was last proven, as PostgreSQL's
own counters say, and whose number of rows is right, can differ only in its new rows; those alone
are recomputed. Any doubt about the counters, and the whole partition is.
"""

from __future__ import annotations

from collections.abc import Mapping

from lake.contracts.contract import TICK_DATASETS
from lake.verify.difference import Side, difference_fault, minute_faults
from lake.verify.hot_units import HotUnit
from lake.verify.marks import DatasetMarks, UnitMark
from lake.verify.reading import Reading
from lake.verify.report import Fault
from lake.verify.totals import Totals
from lake.views.union_view import lake_sql, through_sql


def check_hot(
    reading: Reading, dataset: str, marks: DatasetMarks
) -> tuple[list[Fault], DatasetMarks]:
    """Compare a dataset's hot rows with the ledger; return the faults and the marks that hold now.

    marks: what is proven already; empty for a full check.
    """
    if dataset not in reading.tables:
        return [], marks
    daily = dataset in TICK_DATASETS
    new = reading.ledger_units(dataset, marks.frames, reading.shards, daily=daily)
    units = {unit.unit: unit for unit in reading.units if unit.dataset == dataset}
    dropped = reading.dropped()
    faults: list[Fault] = []
    after = DatasetMarks(frames=dict(reading.shards))
    for name in sorted(new.keys() | marks.units.keys() | units.keys()):
        mark, unit = marks.units.get(name), units.get(name)
        expected = (mark.totals if mark else Totals()) + new.get(name, Totals())
        gone = dropped.get((dataset, name), Totals())
        if not _proven(reading, dataset, unit, mark, new.get(name, Totals()), gone, marks.frames):
            faults += _unit_faults(reading, dataset, name, unit, expected, gone)
        after.units[name] = UnitMark(
            expected, unit.stamp if unit else "", unit.inserted if unit else 0
        )
    return faults, after


def _proven(
    reading: Reading,
    dataset: str,
    unit: HotUnit | None,
    mark: UnitMark | None,
    new: Totals,
    gone: Totals,
    frames: Mapping[int, int],
) -> bool:
    """Tell whether the unit holds by its mark and its new rows alone."""
    if unit is None or mark is None or mark.stamp != unit.stamp or not reading.settled:
        return False
    # The counter of inserts lags by up to a second and has aborted ones too: count instead.
    if unit.inserted - mark.inserted != new.rows and reading.hot_count(unit) != (
        mark.totals.rows + new.rows - gone.rows
    ):
        return False
    return not new.rows or reading.hot_new(unit, frames) == new


def _unit_faults(
    reading: Reading,
    dataset: str,
    name: str,
    unit: HotUnit | None,
    expected: Totals,
    gone: Totals,
) -> list[Fault]:
    actual = reading.totals(dataset, unit.in_duckdb()) if unit else Totals()
    if _agree(expected, actual, gone):
        return []
    where = unit.place if unit else f"no partition of {name}"
    if gone.rows or unit is None:
        stays = Totals(expected.rows - gone.rows)
        return [difference_fault("hot", dataset, where, stays, Totals(actual.rows))]
    minutes = reading.ledger_minutes(dataset, name, reading.shards)
    snapshot = reading.snapshot(dataset)
    relation = unit.in_duckdb()
    compared = None
    if snapshot is not None:
        lake = Side(f"({lake_sql(dataset, snapshot)})")
        compared = Side(relation, through_sql(snapshot.through)), lake
    found = minute_faults(reading, "hot", dataset, where, minutes, Side(relation), compared)
    return found or [
        Fault("hot", dataset, where, "the ledger's own rows were changed", changed=True)
    ]


def _agree(expected: Totals, actual: Totals, gone: Totals) -> bool:
    if gone == Totals():
        return expected == actual
    return (expected.rows - gone.rows, expected.digest - gone.digest) == (
        actual.rows,
        actual.digest,
    )
