"""What earlier runs have proven, so that a run pays for what is new. Never trusted with --full."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from lake.verify.report import Tier
from lake.verify.totals import Totals

VERIFY_LOCK = 0x7469636B_76657269
"""Key of the advisory lock that lets one run at a time leave marks ("tickveri")."""


@dataclass(frozen=True, slots=True)
class UnitMark:
    """A proven unit: the ledger's totals through the marked frames, and how hot looked then."""

    totals: Totals
    stamp: str = ""
    inserted: int = 0


@dataclass(frozen=True, slots=True)
class FileMark:
    """A proven file of the lake: what the file system said of it, and its totals by unit."""

    stamp: str
    totals: Mapping[str, Totals]


@dataclass
class DatasetMarks:
    """Marks of one dataset in one tier.

    frames: shard -> last frame proven (inclusive). events: events counted through those frames.
    files: path -> mark (lake only).
    """

    frames: dict[int, int] = field(default_factory=dict)
    units: dict[str, UnitMark] = field(default_factory=dict)
    files: dict[str, FileMark] = field(default_factory=dict)
    events: int = 0


class Marks:
    """The tables market.verified_*: read at the start of a run, written at its end."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def lock(self) -> None:
        """Wait until no other run is under way; held until the connection closes."""
        self._connection.execute("SELECT pg_advisory_lock(%s)", [VERIFY_LOCK])
        self._connection.commit()

    def read(self, tier: Tier, dataset: str) -> DatasetMarks:
        """Return what is proven of a dataset in a tier."""
        marks = DatasetMarks()
        run = self._connection.execute
        for shard, frame, events in run(_READ_FRAMES, [tier, dataset]):
            marks.frames[shard] = frame
            marks.events += events
        for unit, stamp, inserted, *totals in run(_READ_UNITS, [tier, dataset]):
            marks.units[unit] = UnitMark(Totals.read(totals), stamp, inserted)
        if tier == "lake":
            marks.files = self._files(dataset)
        self._connection.commit()
        return marks

    def write(self, tier: Tier, dataset: str, marks: DatasetMarks) -> None:
        """Replace what is proven of a dataset in a tier, in one transaction."""
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.execute(_CLEAR_FRAMES, [tier, dataset])
            cursor.execute(_CLEAR_UNITS, [tier, dataset])
            first = min(marks.frames, default=0)
            cursor.executemany(
                _WRITE_FRAME,
                [
                    (tier, dataset, shard, frame, marks.events if shard == first else 0)
                    for shard, frame in marks.frames.items()
                ],
            )
            cursor.executemany(
                _WRITE_UNIT,
                [
                    (tier, dataset, unit, mark.stamp, mark.inserted, *mark.totals.texts())
                    for unit, mark in marks.units.items()
                ],
            )
            if tier == "lake":
                self._write_files(cursor, dataset, marks.files)

    def _files(self, dataset: str) -> dict[str, FileMark]:
        found: dict[str, FileMark] = {}
        for path, stamp, unit, *totals in self._connection.execute(_READ_FILES, [dataset]):
            known = found.get(path, FileMark(stamp, {}))
            found[path] = FileMark(stamp, {**known.totals, unit: Totals.read(totals)})
        return found

    def _write_files(
        self, cursor: psycopg.Cursor, dataset: str, files: Mapping[str, FileMark]
    ) -> None:
        known = self._files(dataset)
        gone = [path for path, mark in known.items() if files.get(path) != mark]
        new = {path: mark for path, mark in files.items() if known.get(path) != mark}
        cursor.execute(_CLEAR_FILES, [dataset, gone])
        cursor.executemany(_WRITE_FILE, _file_rows(dataset, new))


def _file_rows(dataset: str, files: Mapping[str, FileMark]) -> Iterable[tuple[object, ...]]:
    for path, mark in files.items():
        for unit, totals in mark.totals.items():
            yield dataset, path, mark.stamp, unit, *totals.texts()


_TOTALS = "rows, sum_a, sum_b, digest"

_READ_FRAMES = sql.SQL(
    "SELECT shard, frame, events FROM market.verified_frames WHERE tier = %s AND dataset = %s"
)
_CLEAR_FRAMES = sql.SQL("DELETE FROM market.verified_frames WHERE tier = %s AND dataset = %s")
_WRITE_FRAME = sql.SQL(
    "INSERT INTO market.verified_frames (tier, dataset, shard, frame, events) "
    "VALUES (%s, %s, %s, %s, %s)"
)
_READ_UNITS = sql.SQL(
    f"SELECT unit, stamp, inserted, {_TOTALS} FROM market.verified_units "
    "WHERE tier = %s AND dataset = %s"
)
_CLEAR_UNITS = sql.SQL("DELETE FROM market.verified_units WHERE tier = %s AND dataset = %s")
_WRITE_UNIT = sql.SQL(
    f"INSERT INTO market.verified_units (tier, dataset, unit, stamp, inserted, {_TOTALS}) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
_READ_FILES = sql.SQL(
    f"SELECT path, stamp, unit, {_TOTALS} FROM market.verified_files WHERE dataset = %s"
)
_CLEAR_FILES = sql.SQL("DELETE FROM market.verified_files WHERE dataset = %s AND path = ANY(%s)")
_WRITE_FILE = sql.SQL(
    f"INSERT INTO market.verified_files (dataset, path, stamp, unit, {_TOTALS}) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
)
