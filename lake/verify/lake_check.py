"""Lake against ledger, file by file.

A data file never changes once it is written, so each live file is read once; later runs ask the
file system only whether it is still the same. The files of a day must add up to the ledger of the
frames through which the table says it holds that day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from lake import ledger
from lake.contracts.contract import load
from lake.errors import Damaged, Unavailable
from lake.tables.warehouse_io import WarehouseIO, local_stamp
from lake.verify.difference import Side, difference_fault, minute_faults
from lake.verify.hot_units import WHOLE, hot_relation, unit_bounds_us
from lake.verify.marks import DatasetMarks, FileMark, UnitMark
from lake.verify.reading import Reading, unit_sql
from lake.verify.report import Fault
from lake.verify.totals import Totals
from lake.views.engine import first_line
from lake.views.snapshot import DataFile, Snapshot, live_files
from lake.views.union_view import lake_sql, parquet_sql, through_sql
from lake.warehouse import Bucket, Warehouse

FILES_PER_READ_MAX = 64
"""Files that one query recomputes."""

ARCHIVE_FILES_MAX = 1 << 40
"""Beyond the number of any file of an archive."""


@dataclass
class _Files:
    """What the live files hold: path -> mark, and the faults met on the way."""

    marks: dict[str, FileMark] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def units(self) -> dict[str, Totals]:
        found: defaultdict[str, Totals] = defaultdict(Totals)
        for mark in self.marks.values():
            for unit, totals in mark.totals.items():
                found[unit] += totals
        return dict(found)


def check_lake(
    reading: Reading, dataset: str, marks: DatasetMarks
) -> tuple[list[Fault], DatasetMarks]:
    """Compare a dataset's lake table with the ledger; return faults and the marks that hold now.

    marks: what is proven already; empty for a full check.
    """
    try:
        snapshot = reading.snapshot(dataset)
        if snapshot is None:
            return _table_gone(reading, dataset, marks), marks
        return _check(reading, snapshot, marks)
    except Damaged as error:
        return [Fault("lake", dataset, error.thing, error.fault, remedy=error.remedy)], marks


def _check(
    reading: Reading, snapshot: Snapshot, marks: DatasetMarks
) -> tuple[list[Fault], DatasetMarks]:
    dataset, through = snapshot.dataset, snapshot.through
    faults = [
        Fault("lake", dataset, snapshot.metadata_location, f"shard {shard} beyond frame {last}")
        for shard, last in reading.shards.items()
        if through.get(shard, 0) > last
    ]
    if any(through.get(shard, 0) < frame for shard, frame in marks.frames.items()):
        # The table was taken back; what the ledger says of it must be summed anew.
        marks = DatasetMarks(files=marks.files)
    new = reading.ledger_units(dataset, marks.frames, through, daily=True)
    expected = {unit: mark.totals for unit, mark in marks.units.items()}
    for unit, totals in new.items():
        expected[unit] = expected.get(unit, Totals()) + totals
    files = _read_files(reading, snapshot, marks.files)
    actual = files.units()
    faults += files.faults
    archived = reading.archived(dataset, snapshot.left)
    for unit in sorted(expected.keys() | actual.keys()):
        gone = archived.get(unit, Totals())
        rest = expected.get(unit, Totals()) - gone
        if rest == actual.get(unit, Totals()):
            continue
        if gone.rows:
            faults.append(_unit_fault(snapshot, unit, rest, actual.get(unit, Totals())))
        else:
            faults += _unit_faults(reading, snapshot, unit, expected, actual, files)
    units = {unit: UnitMark(totals) for unit, totals in expected.items()}
    return faults, DatasetMarks(dict(through), units, files.marks)


def _read_files(reading: Reading, snapshot: Snapshot, known: Mapping[str, FileMark]) -> _Files:
    found = _Files()
    live = live_files(reading.files, snapshot)
    if any(file.content for file in live):
        # Another engine deleted rows without rewriting files: only the whole scan knows what lives.
        found.marks[snapshot.metadata_location] = FileMark("", _scan(reading, snapshot))
        return found
    stamps = _stamps(reading.warehouse, snapshot.metadata_location)
    unread: list[tuple[DataFile, str]] = []
    for file in live:
        stamp = stamps(file.path)
        if not stamp:
            what = f"file missing: {file.rows:,} rows"
            found.faults.append(Fault("lake", snapshot.dataset, file.path, what))
        elif file.path in known and known[file.path].stamp == stamp:
            found.marks[file.path] = known[file.path]
        else:
            unread.append((file, stamp))
    for start in range(0, len(unread), FILES_PER_READ_MAX):
        _read_new(reading, snapshot.dataset, unread[start : start + FILES_PER_READ_MAX], found)
    for path, mark in found.marks.items():
        if path in known and known[path].totals != mark.totals:
            fault = Fault("lake", snapshot.dataset, path, "file rewritten in place")
            found.faults.append(fault)
    return found


def _read_new(
    reading: Reading, dataset: str, files: Sequence[tuple[DataFile, str]], found: _Files
) -> None:
    try:
        totals = _file_totals(reading, dataset, [file.path for file, _ in files])
    except duckdb.Error as error:
        if len(files) == 1:
            what = f"file unreadable: {first_line(error)}"
            found.faults.append(Fault("lake", dataset, files[0][0].path, what))
            return
        for each in files:
            _read_new(reading, dataset, [each], found)
        return
    for file, stamp in files:
        mark = FileMark(stamp, totals.get(file.path, {}))
        found.marks[file.path] = mark
        rows = sum(each.rows for each in mark.totals.values())
        if rows != file.rows:
            what = f"file holds {rows:,} rows, its manifest says {file.rows:,}"
            found.faults.append(Fault("lake", dataset, file.path, what))


def _file_totals(
    reading: Reading, dataset: str, paths: Sequence[str]
) -> dict[str, dict[str, Totals]]:
    unit = unit_sql(load(dataset).ledger_time, daily=True)
    rows = reading.files.execute(
        f"SELECT filename, {unit}, {ledger.sums_sql(dataset, 'duckdb')} "
        f"FROM {parquet_sql(dataset, paths)} GROUP BY 1, 2"
    ).fetchall()
    found: defaultdict[str, dict[str, Totals]] = defaultdict(dict)
    for path, name, *values in rows:
        found[path][name] = Totals.read(values)
        reading.rows_read += found[path][name].rows
    return found


def _scan(reading: Reading, snapshot: Snapshot) -> dict[str, Totals]:
    dataset = snapshot.dataset
    unit = unit_sql(load(dataset).ledger_time, daily=True)
    rows = reading.files.execute(
        f"SELECT {unit}, {ledger.sums_sql(dataset, 'duckdb')} "
        f"FROM ({lake_sql(dataset, snapshot)}) GROUP BY 1"
    ).fetchall()
    found = {name: Totals.read(values) for name, *values in rows}
    reading.rows_read += sum(totals.rows for totals in found.values())
    return found


def _unit_faults(
    reading: Reading,
    snapshot: Snapshot,
    unit: str,
    expected: Mapping[str, Totals],
    actual: Mapping[str, Totals],
    files: _Files,
) -> list[Fault]:
    dataset = snapshot.dataset
    paths = [path for path, mark in files.marks.items() if unit in mark.totals]
    low, high = unit_bounds_us(unit)
    time = load(dataset).ledger_time
    within = f"{time} >= make_timestamptz({low}) AND {time} < make_timestamptz({high})"
    relation = f"({lake_sql(dataset, None)})"
    if paths == [snapshot.metadata_location]:
        relation = f"({lake_sql(dataset, snapshot)})"
    elif paths:
        relation = parquet_sql(dataset, paths)
    where = f"day {unit} of {snapshot.metadata_location}"
    minutes = reading.ledger_minutes(dataset, unit, snapshot.through)
    found = minute_faults(
        reading,
        "lake",
        dataset,
        where,
        minutes,
        Side(relation, within),
        _compared(reading, snapshot, unit, Side(relation, within)),
    )
    if found:
        return found
    return [_unit_fault(snapshot, unit, expected.get(unit, Totals()), actual.get(unit, Totals()))]


def _unit_fault(snapshot: Snapshot, unit: str, expected: Totals, actual: Totals) -> Fault:
    """Return the fault of a day whose minutes say no more; what was archived of it is left out."""
    where = f"day {unit} of {snapshot.metadata_location}"
    return difference_fault("lake", snapshot.dataset, where, expected, actual)


def _compared(
    reading: Reading, snapshot: Snapshot, unit: str, mine: Side
) -> tuple[Side, Side] | None:
    dataset = snapshot.dataset
    held = any(each.dataset == dataset and each.unit in (unit, WHOLE) for each in reading.units)
    if not held:
        return None
    where = f"{mine.where} AND {through_sql(snapshot.through)}"
    return mine, Side(hot_relation(dataset), where)


def _table_gone(reading: Reading, dataset: str, marks: DatasetMarks) -> list[Fault]:
    """Return the fault of a table that held frames and is not in the catalog; none if none did."""
    held = marks.frames or reading.committed(dataset)
    if not any(held.values()):
        return []
    counted = reading.ledger_units(dataset, {}, held, daily=True)
    rows = sum(each.rows for each in counted.values())
    lost = rows - sum(each.rows for each in reading.archived(dataset, ARCHIVE_FILES_MAX).values())
    what = f"table missing: {lost:,} rows lost"
    remedy = "put its row of iceberg_tables back, or: ticklake restore --to TIME"
    return [Fault("lake", dataset, "catalog", what, lost=lost, remedy=remedy)]


def _stamps(warehouse: Warehouse | None, metadata_location: str) -> Callable[[str], str]:
    """Return what tells a file's stamp: "" when it is gone.

    A bucket is listed once, which is a request per thousand files; a folder's files are asked for.
    Raises Unavailable when the store does not answer.
    """
    if not isinstance(warehouse, Bucket):
        return local_stamp
    table = metadata_location.rpartition("/metadata/")[0]
    try:
        files = WarehouseIO(warehouse.iceberg_properties()).listed(f"{table}/data")
        found = {file.location: file.stamp for file in files}
    except OSError as error:
        raise Unavailable(
            f"files of {table}", "the store does not answer", "see: ticklake status"
        ) from error
    return lambda path: found.get(path, "")
