"""Rows that left hot by proof, or were never there, must be in the lake: also after somebody took
the lake back."""

from __future__ import annotations

from lake.errors import Damaged
from lake.verify.difference import difference_fault
from lake.verify.hot_units import WHOLE
from lake.verify.marks import DatasetMarks
from lake.verify.reading import Reading
from lake.verify.report import Fault
from lake.verify.totals import Totals


def check_left(
    reading: Reading, dataset: str, hot: DatasetMarks, lake: DatasetMarks
) -> list[Fault]:
    """Return a fault per such unit whose rows the union of lake, staged and hot does not show.

    hot, lake: what the ledger says of either, as their own checks have just proven it.
    """
    staged = reading.staged(dataset, lake.frames)
    units = {each.unit: each for each in reading.units if each.dataset == dataset}
    faults = []
    for (name, unit), gone in sorted(reading.dropped().items()):
        if name != dataset or not gone.rows or unit not in hot.units:
            continue
        expected = hot.units[unit].totals
        shown = _shown(lake, unit)
        try:
            shown += reading.staged_new(dataset, unit, lake.frames, staged)
        except Damaged as error:
            what = f"staged file missing or unreadable: {error.fault}"
            faults.append(Fault("lake", dataset, f"day {unit}", what, remedy=error.remedy))
            continue
        if shown != expected and unit in units:
            shown += reading.hot_new(units[unit], lake.frames)
        if shown != expected:
            days = "all days, of which some were" if unit == WHOLE else f"day {unit}, which was"
            where = f"{days} dropped from hot"
            faults.append(difference_fault("lake", dataset, where, expected, shown))
    return faults


def _shown(lake: DatasetMarks, unit: str) -> Totals:
    """Return what the lake holds of a unit of the hot tier: the lake's own are days."""
    if unit == WHOLE:
        return sum((each.totals for each in lake.units.values()), Totals())
    return lake.units[unit].totals if unit in lake.units else Totals()
