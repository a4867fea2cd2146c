"""Rows that a model is trained on, and what forbids to train on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import BadInput

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

SIDES = (-1, 0, 1)
CORRELATION_MAX = 0.95
"""No feature of a past says so much of a future return: one that does has seen it."""

SIDE_SHARE_MIN = 0.01
"""Least share of the rarest side that occurs; below it a model learns to never name it."""

ROWS_MIN = 200
TIMES = ("event_time", "available_time", "label_end_time", "label_available_time")
LABELS = ("label_value", "label_side")
SERIES = ("ticker", "exchange", "market", "interval")
"""Columns that tell one series of rows from another, where a table has them."""


@dataclass(frozen=True, slots=True)
class Rows:
    """features: rows by columns, in the order of names; value, side: of the label.

    event_us: the row's time; available_us: from when on its features were known; known_us: from
    when on its label was. series: number of its series, from 0. Sorted by event_us.
    dropped: rows that lacked a feature, as those before its lookback do.
    """

    names: tuple[str, ...]
    features: Float64
    value: Float64
    side: Int64
    event_us: Int64
    available_us: Int64
    known_us: Int64
    series: Int64
    dropped: int

    def of(self, places: Int64) -> Rows:
        """Return the rows at these places."""
        return Rows(
            self.names,
            self.features[places],
            self.value[places],
            self.side[places],
            self.event_us[places],
            self.available_us[places],
            self.known_us[places],
            self.series[places],
            self.dropped,
        )


def rows_of(table: pa.Table, names: Sequence[str]) -> Rows:
    """Return a table's rows that have every feature, by event_time; refuse what can't be.

    Columns: those of TIMES and LABELS, and a double a feature; null where there is none yet; those
    of SERIES where there are several. Raises BadInput where a column is missing; a value is NaN or
    infinite; a feature came after its row's event_time and available_time allow; a label was known
    before its end; a feature correlates with the label as only the future does; a side is too rare,
    or there is one; rows are too few.
    """
    missing = [name for name in (*TIMES, *LABELS, *names) if name not in table.column_names]
    if missing:
        raise BadInput("training rows", f"have no {', '.join(missing)}", "join them first")
    _refuse_endless(table, (*names, "label_value"))
    kept = whole_rows(table, names)
    event, available, end, known = (kept[name].cast(pa.int64()).to_numpy() for name in TIMES)
    _refuse_time_travel(event, available, end, known)
    columns = [kept[name].to_numpy() for name in names]
    made = Rows(
        tuple(names),
        np.column_stack(columns).astype(np.float64),
        kept["label_value"].to_numpy().astype(np.float64),
        kept["label_side"].to_numpy().astype(np.int64),
        event,
        available,
        known,
        _series(kept),
        table.num_rows - kept.num_rows,
    )
    if len(event) < ROWS_MIN:
        fault = f"{len(event):,} have every feature and a label; {ROWS_MIN} are needed"
        raise BadInput("training rows", fault, "take a longer span")
    _refuse_imbalance(made.side)
    _refuse_leaks(made)
    return made


def whole_rows(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return the table's rows that have every feature, time and label, by event_time: a place in
    Rows is a place here."""
    whole = np.ones(table.num_rows, bool)
    for name in (*names, *TIMES, *LABELS):
        whole &= table[name].is_valid().to_numpy()
    kept = table.filter(pa.array(whole))
    times = kept["event_time"].cast(pa.int64()).to_numpy()
    return kept.take(pa.array(np.argsort(times, kind="stable")))


def _series(table: pa.Table) -> Int64:
    """Return the number of each row's series."""
    numbers = np.zeros(table.num_rows, np.int64)
    for name in SERIES:
        if name in table.column_names:
            codes = pc.fill_null(pc.cast(table[name], pa.string()), "")
            codes = codes.combine_chunks().dictionary_encode().indices.to_numpy()
            pairs = numbers * (int(codes.max(initial=0)) + 1) + codes
            numbers = np.unique(pairs, return_inverse=True)[1].astype(np.int64)
    return numbers


def _refuse_endless(table: pa.Table, names: Sequence[str]) -> None:
    found = []
    for name in names:
        values = table[name].drop_null().to_numpy()
        nan, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
        if nan or infinite:
            found.append(f"{name} {nan:,} NaN and {infinite:,} infinite")
    if found:
        raise BadInput(
            "training rows", "; ".join(found), "a value that is not known is null: mend the feature"
        )


def _refuse_time_travel(event: Int64, available: Int64, end: Int64, known: Int64) -> None:
    early = int(((end <= event) | (known < end)).sum())
    if early:
        fault = f"{early:,} labels end at their row, or were known before their end"
        raise BadInput("training rows", fault, "make the labels again")
    late = int((available >= known).sum())
    if late:
        fault = f"features of {late:,} rows were there no sooner than their labels"
        raise BadInput("training rows", fault, "join them point in time")


def _refuse_imbalance(side: Int64) -> None:
    share = {each: float((side == each).mean()) for each in SIDES}
    there = {each: part for each, part in share.items() if part > 0}
    if not set(there) <= set(SIDES) or abs(sum(there.values()) - 1) > 1e-9:
        raise BadInput("training rows", "have a side other than -1, 0, 1", "make the labels again")
    if len(there) < 2 or min(there.values()) < SIDE_SHARE_MIN:
        said = ", ".join(f"{each}: {part:.2%}" for each, part in share.items())
        remedy = "choose another horizon, width or dead band"
        raise BadInput("labels", f"are out of balance, {said}", remedy)


def _refuse_leaks(rows: Rows) -> None:
    found = []
    for name, column in zip(rows.names, rows.features.T, strict=True):
        if column.std() > 0 and rows.value.std() > 0:
            r = float(np.corrcoef(column, rows.value)[0, 1])
            if abs(r) > CORRELATION_MAX:
                found.append(f"{name} ({r:.3f})")
    if found:
        raise BadInput(
            "training rows",
            f"correlate with the label as only the future does: {', '.join(found)}",
            "leave them out, or find what they have seen",
        )
