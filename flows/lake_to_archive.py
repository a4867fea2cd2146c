"""From the lake to the archive, and out of the archive, by the ages of the contracts.

A day leaves the lake when its age there has passed, since its end and since its last row came, and
the hot tier does not hold it any more. Its rows are written to files of the archive, read back and,
where the loss ledger covers them, proven equal to it; these are entered in the book; one commit
then takes the rows out of the table and says so in a property, so `verify` knows at each moment
where a row must be. Whoever dies before that commit leaves files that the next run removes.
Releases and tags keep what they pin: the lake's own files go by upkeep, when no snapshot needs
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from lake.archive.book import (
    ArchiveFile,
    enter,
    held_files,
    last_number,
    left_content,
    note_deleted,
    strike_out,
)
from lake.archive.content import Content, content_of
from lake.archive.lake_days import (
    LakeDay,
    came_at,
    gathered,
    is_past,
    lake_days,
    ledger_of_day,
)
from lake.archive.place import ArchivePlace
from lake.clock import Clock, utc_from_us
from lake.contracts.ages import LEAVING_DATASETS, aging_datasets
from lake.contracts.contract import NUMBERED_DATASETS, load
from lake.errors import Damaged, Unavailable
from lake.hot.alerts import clear_alert, raise_alert
from lake.hot.recovery import window_s
from lake.hot.turn import TURN_S_MAX, turn
from lake.ingest.days_in_hot import hot_days
from lake.ingest.lake_files import RemovalBook
from lake.ledger import MEASURES
from lake.parts import ShowPart, by_parts, each_within, nobody
from lake.steps import Steps
from lake.tables.catalog import known_table, open_catalog
from lake.tables.commit import faults_of
from lake.tables.data_file import sorted_rows, time_column_of, write_data_files
from lake.tables.lake_table import holdings_of
from lake.tables.names import LEFT, NAMESPACE
from lake.tables.swap import swap_files
from lake.warehouse import Warehouse

LEASE = "retain"


@dataclass(frozen=True, slots=True)
class Moved:
    """A day of a tier and what became of it: gone, or the reason why it stays.

    failed: a proof did not hold, and not that it is busy or still elsewhere.
    """

    tier: str
    dataset: str
    day: date
    rows: int
    bytes: int
    gone: bool = False
    reason: str = ""
    failed: bool = False

    def line(self) -> str:
        """Return it in words."""
        what = f"{self.tier:10} {self.dataset:18} {self.day}  {self.rows:>14,} rows"
        return f"{what}  {'gone' if self.gone else self.reason}"


class LakeToArchive:
    """One run over the tables of one lakehouse; a context manager that holds the turn."""

    def __init__(
        self,
        dsn: str,
        warehouse: Warehouse,
        place: ArchivePlace,
        clock: Clock,
        *,
        steps: Steps | None = None,
        wait_s: float = TURN_S_MAX,
    ) -> None:
        self._dsn = dsn
        self._warehouse = warehouse
        self._place = place
        self._clock = clock
        self._steps = steps or Steps()
        self._wait_s = wait_s

    def due_in_lake(self) -> list[LakeDay]:
        """Return the days whose age in the lake has passed; changes nothing."""
        with (
            psycopg.connect(self._dsn, autocommit=True) as connection,
            closing(open_catalog(self._dsn, self._warehouse)) as catalog,
        ):
            return [
                day
                for dataset in aging_datasets()
                if (table := known_table(catalog, dataset)) is not None
                for day in self._due(connection, dataset, table)
            ]

    def due_in_archive(self, connection: psycopg.Connection) -> list[ArchiveFile]:
        """Return the files whose age in the archive has passed; changes nothing.

        Where backups are on, a restore may name a file again: it stays for the window longer.
        """
        now = self._now() - timedelta(seconds=window_s(connection))
        return [
            file
            for file in held_files(connection)
            if (age := load(file.dataset).retention_days["archive"]) is not None
            and is_past(file.day, file.came_at, age, now)
        ]

    def run(self, show: ShowPart = nobody) -> list[Moved]:
        """Move every day that is due; Unavailable while another run is at work.

        show: is told how far it is.
        """
        found: list[Moved] = []
        with (
            turn(self._dsn, LEASE, wait_s=self._wait_s) as held,
            psycopg.connect(self._dsn, autocommit=True) as connection,
            closing(
                open_catalog(self._dsn, self._warehouse, epoch=held.epoch, lease=LEASE)
            ) as catalog,
        ):
            for dataset, part in each_within(aging_datasets(), show):
                table = known_table(catalog, dataset)
                if table is None:
                    continue
                self._clear_up(connection, dataset, table)
                for day in by_parts(self._due(connection, dataset, table), part):
                    with self._turn_of(dataset):
                        moved = self._leave(connection, catalog, day, held.epoch)
                    self._tell(connection, moved)
                    found.append(moved)
            found += self._delete(connection)
        return found

    def _turn_of(self, dataset: str) -> AbstractContextManager[object]:
        """Return the turn of whoever numbers a dataset's rows: its commit is not to be lost."""
        if dataset not in NUMBERED_DATASETS:
            return nullcontext()
        return turn(self._dsn, dataset, wait_s=self._wait_s)

    def _now(self) -> datetime:
        return utc_from_us(self._clock.now_us())

    def _due(self, connection: psycopg.Connection, dataset: str, table: Table) -> list[LakeDay]:
        age = load(dataset).retention_days["lake"]
        assert age is not None
        now = self._now()
        old = [
            day
            for day in lake_days(dataset, table)
            if is_past(day.day, datetime(1970, 1, 1, tzinfo=UTC), age, now)
        ]
        return [
            day for day in old if is_past(day.day, came_at(connection, dataset, day.day), age, now)
        ]

    def _clear_up(self, connection: psycopg.Connection, dataset: str, table: Table) -> None:
        """Remove the files of a run that died before its commit: their rows are in the lake."""
        left = int(table.properties.get(LEFT, 0))
        for file in held_files(connection, dataset):
            if file.number > left:
                self._place.delete(file.path)
                strike_out(connection, file)

    def _leave(
        self, connection: psycopg.Connection, catalog: SqlCatalog, day: LakeDay, epoch: int
    ) -> Moved:
        def stays(reason: str, *, failed: bool = False) -> Moved:
            return Moved("lake", day.dataset, day.day, day.rows, day.bytes, False, reason, failed)

        dataset = day.dataset
        if dataset in LEAVING_DATASETS and day.day in hot_days(connection, dataset):
            return stays("still in hot")
        table = known_table(catalog, dataset)
        assert table is not None
        days = {each.day: each for each in lake_days(dataset, table)}
        if day.day not in days:
            return stays("its files have changed; tried again next time")
        day = days[day.day]
        if holdings_of(table).rolled_back:
            return stays("the table was rolled back; the committer heals it")
        promised, frames = ledger_of_day(connection, dataset, day.day)
        through = holdings_of(table).through
        if any(through.get(shard, 0) < frame for shard, frame in frames.items()):
            return stays("rows of it are on their way to the lake")
        left = int(table.properties.get(LEFT, 0))
        gone = left_content(connection, dataset, day.day, left)
        try:
            files, rest, total = self._copied(connection, table, day)
            if dataset in MEASURES and total + gone != promised:
                self._forget(files)
                fault = f"it has {total.rows:,} rows, the ledger {(promised - gone).rows:,}"
                return stays(f"{fault}, or they differ", failed=True)
            if not files:
                return stays("no row of it is there")
            self._steps.at("retain.enter")
            enter(connection, files, self._now())
            self._take_out(catalog, table, day, rest, files[-1].number, epoch)
        except (Unavailable, Damaged) as error:
            # Entered or not, committed or not: the table's own mark tells.
            self._clear_up(connection, dataset, catalog.load_table((NAMESPACE, dataset)))
            return stays(f"{error}; tried again next time", failed=isinstance(error, Damaged))
        self._steps.at("retain.left")
        RemovalBook(connection).freed(dataset, [file.file_path for file in day.files])
        return Moved("lake", dataset, day.day, total.rows, day.bytes, True)

    def _copied(
        self, connection: psycopg.Connection, table: Table, day: LakeDay
    ) -> tuple[list[ArchiveFile], list[pa.Table], Content]:
        """Write the day's rows to the archive and read them back; return also what stays.

        Raises Damaged when the archive does not give back what it got.
        """
        number = last_number(connection, day.dataset)
        came = came_at(connection, day.dataset, day.day)
        files: list[ArchiveFile] = []
        rest: list[pa.Table] = []
        total = Content()
        for rows in gathered(table, day, rest):
            number += 1
            name = f"{day.dataset}/{day.day}/{number:08}.parquet"
            path = self._place.path(name)
            self._place.write(path, sorted_rows(rows, list(load(day.dataset).sort)))
            self._steps.at("retain.write")
            content = content_of(day.dataset, self._place.read(day.dataset, path))
            if content != content_of(day.dataset, rows):
                raise Damaged(path, "does not read back as it was written", "look at its disk")
            sha256, size = self._place.sha256(path)
            files.append(
                ArchiveFile(day.dataset, number, day.day, path, size, sha256, content, came)
            )
            total += content
        return files, rest, total

    def _take_out(
        self,
        catalog: SqlCatalog,
        table: Table,
        day: LakeDay,
        rest: Sequence[pa.Table],
        number: int,
        epoch: int,
    ) -> None:
        with faults_of(day.dataset):
            kept = pa.concat_tables(rest).combine_chunks() if rest else None
            new = (
                write_data_files(table, kept, time_column=time_column_of(table), compact=True)
                if kept is not None and kept.num_rows
                else []
            )
            swap_files(
                catalog,
                day.dataset,
                table,
                day.files,
                new,
                epoch=epoch,
                operation="retain",
                before_commit=lambda: self._steps.at("retain.commit"),
                properties={LEFT: str(number)},
            )

    def _forget(self, files: Sequence[ArchiveFile]) -> None:
        for file in files:
            self._place.delete(file.path)

    def _tell(self, connection: psycopg.Connection, moved: Moved) -> None:
        thing = f"lake {moved.dataset} of {moved.day}"
        if moved.failed:
            raise_alert(connection, self._clock, thing, moved.reason, "run `ticklake verify`")
        elif moved.gone:
            clear_alert(connection, thing)

    def _delete(self, connection: psycopg.Connection) -> list[Moved]:
        """Delete what the archive's ages let go; the book keeps what it was."""
        gone = []
        for file in self.due_in_archive(connection):
            self._steps.at("retain.delete")
            self._place.delete(file.path)
            note_deleted(connection, file, self._now())
            gone.append(
                Moved("archive", file.dataset, file.day, file.content.rows, file.bytes, True)
            )
        return gone
