"""Design 3.3, 3.4: history in bulk goes journal to lake beside the hot tables, under one ledger."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import orjson
import psycopg
import pyarrow as pa
import pytest
from pyiceberg.table.update import RemoveSnapshotRefUpdate

from flows.trades_to_bars import TradesToBars
from lake.clock import SystemClock
from lake.contracts.contract import load
from lake.errors import Fenced, TicklakeError
from lake.feeds.history import FEED, frames_of_rows, row_schema
from lake.hot.hot_reader import HotReader
from lake.hot.hot_tier import HotTier
from lake.hot.lease import COMMITTER, Lease, shard_lease, take
from lake.ingest import control
from lake.ingest.codecs import codecs
from lake.ingest.day_totals import ledger_totals
from lake.ingest.held import Held
from lake.ingest.hot_to_dropped import Proof, beyond_dropped, drop_due
from lake.ingest.hot_to_lake import LAKE_DATASETS, HotToLake
from lake.ingest.journal_to_hot import JournalToHot
from lake.ingest.lake_files import RemovalBook
from lake.ingest.recent_batches import RecentBatches
from lake.ingest.staging import ROWS_A_DAY_MIN, ROWS_MIN, Stage
from lake.ingest.stored_keys import StoredUnion
from lake.journal.reader import JournalReader
from lake.steps import NAMES, Steps
from lake.tables.catalog import open_catalog
from lake.tables.lake_table import LakeTable, announce
from lake.tables.upkeep import Upkeep
from lake.views.client import Client
from tests.path.lakehouse import Lakehouse, frame, trade

DAY_US = 86_400_000_000
OLD_US = 19_600 * DAY_US
"""A day in 2023."""

COUNT = ROWS_MIN + 2_000
WRITING = [name for name in NAMES if name.startswith(("stage.", "hot."))]
COMMITTING = [name for name in NAMES if name.startswith("lake.")]
FUTURE_US = 1 << 60


def trades(first: int, count: int, *, from_us: int = OLD_US, days: float = 3) -> pa.Table:
    """Return trades with ids from `first` on, spread over so many days."""
    ids = np.arange(first, first + count)
    step_us = int(days * DAY_US) // COUNT
    columns: dict[str, pa.Array] = {
        "ticker": pa.repeat("X:BTCUSD", count),
        "exchange": pa.repeat("sim:1", count),
        "market": pa.repeat("spot", count),
        "trade_id": pa.array(ids).cast(pa.string()),
        "event_time": pa.array(from_us + (ids - 1) * step_us).cast(pa.timestamp("us", "UTC")),
        "price": pa.array((100 + ids % 50).astype(np.int32)).cast(pa.decimal128(28, 10)),
        "size": pa.array((1 + ids % 7).astype(np.int32)).cast(pa.decimal128(28, 10)),
        "side": pa.repeat("buy", count),
        "conditions": pa.nulls(count, pa.string()),
    }
    schema = row_schema("crypto_trades")
    return pa.table([columns[name].cast(schema.field(name).type) for name in schema.names], schema)


@dataclass
class Bulk:
    """Journal, writer and committer of one lakehouse, stepped from outside.

    Each write and each commit is of an owner made anew, as after its process has died; a fault is
    met once.
    """

    lakehouse: Lakehouse
    recent: RecentBatches = field(default_factory=lambda: RecentBatches(0))
    leases: dict[str, Lease] = field(default_factory=dict)

    @cached_property
    def client(self) -> Client:
        """A reader that stays."""
        return Client(self.lakehouse.dsn, self.lakehouse.place)

    def lease(self, name: str) -> Lease:
        """Return the lease, taken the first time."""
        if name not in self.leases:
            with psycopg.connect(self.lakehouse.dsn, autocommit=True) as connection:
                found = take(connection, name)
            assert found is not None
            self.leases[name] = found
        return self.leases[name]

    def journal(self, *parcels: pa.Table, live: list[bytes] | None = None) -> None:
        """Make parcels of history durable, a flush each, and live frames after them."""
        journal, now_us = self.lakehouse.open_journal(), SystemClock().now_us()
        for rows in parcels:
            frames = frames_of_rows("crypto_trades", rows)
            times = [now_us] * len(frames)
            journal.append(FEED, control.HISTORY_CONNECTION, frames, times)
            journal.flush()
        if live:
            journal.append("sim", 0, live, [now_us] * len(live))
            journal.flush()
        journal.close()

    def write(self, fault: str = "") -> int:
        """Write all that is durable, with a writer of its own; return how many batches."""
        steps, place = Steps.parse(fault), self.lakehouse.place
        lease = self.lease(shard_lease(0))
        if not (self.lakehouse.folder / "warehouse").exists():
            with closing(open_catalog(self.lakehouse.dsn, place)) as catalog:
                announce(catalog, LAKE_DATASETS, 0, tries_max=3)
        with ExitStack() as held:
            connection = held.enter_context(psycopg.connect(self.lakehouse.dsn, autocommit=True))
            stage = Stage(self.lakehouse.dsn, place, SystemClock(), steps=steps)
            mover = JournalToHot(
                connection,
                held.enter_context(closing(HotTier(self.lakehouse.dsn, steps=steps))),
                held.enter_context(closing(JournalReader(self.lakehouse.journal_folder, 0))),
                codecs(),
                held.enter_context(closing(StoredUnion(self.lakehouse.dsn, place))),
                lease,
                SystemClock(),
                recent=self.recent,
                stage=held.enter_context(closing(stage)),
            )
            held.callback(mover.close)
            batches = 0
            while mover.step() is not None:
                batches += 1
            return batches

    def commit(self, fault: str = "", datasets: Sequence[str] = LAKE_DATASETS) -> None:
        """Bring all to the lake, with a committer of its own."""
        lease = self.lease(COMMITTER)
        with (
            closing(open_catalog(self.lakehouse.dsn, self.lakehouse.place, epoch=lease.epoch)) as c,
            psycopg.connect(self.lakehouse.dsn, autocommit=True) as connection,
            closing(HotReader(self.lakehouse.dsn)) as reader,
        ):
            steps = Steps.parse(fault)
            tables = [LakeTable(c, d, epoch=lease.epoch, steps=steps) for d in datasets]
            mover = HotToLake(connection, reader, tables, recent=self.recent)
            while mover.step().more:
                pass

    def count(self, view: str = "crypto_trades") -> tuple[int, int]:
        """Return rows and different trades of a view."""
        asked = f"SELECT count(*), count(DISTINCT trade_id) FROM {view}"
        found = self.client.polars(asked).row(0)
        return int(found[0]), int(found[1])

    def assert_once(self, trades: int, hot: int = 0) -> None:
        """Assert that each trade shows once, so many of them from hot, and that verify holds."""
        assert self.count() == (trades, trades)
        assert self.count("hot.crypto_trades") == (hot, hot)
        report = self.lakehouse.verified()
        assert report.holds, [str(fault) for fault in report.faults]

    def staged(self) -> list[tuple[str, int, bool]]:
        """Return path, rows, and whether it is noted to be in the lake, of each staged file."""
        with psycopg.connect(self.lakehouse.dsn) as connection:
            return connection.execute(
                "SELECT path, rows, in_lake_time IS NOT NULL FROM market.staged_files ORDER BY 1"
            ).fetchall()

    def orphans(self) -> list[str]:
        """Return what upkeep books for removal of all that no snapshot needs, however young."""
        with (
            closing(open_catalog(self.lakehouse.dsn, self.lakehouse.place)) as catalog,
            psycopg.connect(self.lakehouse.dsn, autocommit=True) as connection,
        ):
            sort, lock = load("crypto_trades").sort, threading.Lock()
            upkeep = Upkeep(catalog, "crypto_trades", sort, epoch=0, commit_lock=lock)
            book = RemovalBook(connection)
            book.freed("crypto_trades", upkeep.orphans(FUTURE_US))
            found = sorted(each for each in book.waiting("crypto_trades") if "/data/" in each)
            upkeep.remove(found)
            book.removed(found)
            return found


@pytest.fixture
def path(migrated_dsn: str, tmp_path: Path) -> Iterator[Bulk]:
    path = Bulk(Lakehouse(migrated_dsn, tmp_path))
    yield path
    path.client.close()


def test_old_rows_are_seen_once_before_and_after_the_lake_has_them(path: Bulk) -> None:
    now = trades(COUNT + 1, 300, from_us=SystemClock().now_us() - 3 * DAY_US, days=0.1)
    path.journal(trades(1, COUNT), now, live=[frame(trade(99_999))])
    assert path.write() == 2, "history in one batch, what is live in another"
    assert len(path.staged()) == 3, "a file a day"
    assert not any(noted for _, _, noted in path.staged())
    path.assert_once(COUNT + 301, hot=301)
    assert path.count("lake.crypto_trades") == (0, 0)
    assert path.orphans() == [], "a staged file that waits for its commit is no orphan"
    assert_contradiction_is_said(path)
    assert_lost_file_is_said(path)
    assert_not_removed_while_it_waits(path)
    path.commit()
    path.assert_once(COUNT + 301, hot=301)
    assert path.count("lake.crypto_trades") == (COUNT + 301, COUNT + 301)
    assert all(noted for _, _, noted in path.staged())
    assert path.orphans() == []
    take_back(path)
    path.assert_once(COUNT + 301, hot=301)
    path.commit()
    path.assert_once(COUNT + 301, hot=301)


def assert_lost_file_is_said(path: Bulk) -> None:
    """Assert that verify names a staged file that is gone, and no reader ends in DuckDB's words."""
    file = Path(path.staged()[0][0].removeprefix("file://"))
    away = file.rename(file.with_suffix(".away"))
    (fault,) = path.lakehouse.verified().faults
    assert "staged file missing" in fault.what
    assert path.staged()[0][0].endswith(file.name)
    with pytest.raises(TicklakeError, match="gone"):
        Client(path.lakehouse.dsn, path.lakehouse.place).refresh()
    file.write_bytes(b"no Parquet")
    with pytest.raises(TicklakeError):
        Client(path.lakehouse.dsn, path.lakehouse.place).refresh()
    (fault,) = path.lakehouse.verified().faults
    away.replace(file)


def assert_not_removed_while_it_waits(path: Bulk) -> None:
    """Assert that a staged file that was booked for removal is not due, and can't be staged."""
    file = path.staged()[0][0]
    with psycopg.connect(path.lakehouse.dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO market.lake_removals VALUES (%s, 'crypto_trades', '2020-01-01')", (file,)
        )
        assert RemovalBook(connection).due("crypto_trades", 0) == []
        with pytest.raises(psycopg.Error, match="waits for its removal"):
            connection.execute(
                "INSERT INTO market.staged_files SELECT dataset, 1, first_frame, last_frame, day,"
                " path, rows, digest FROM market.staged_files WHERE path = %s",
                (file,),
            )
        connection.execute("DELETE FROM market.lake_removals")


def take_back(path: Bulk) -> None:
    """Roll the table back as others do, to before any append, long after it was noted."""
    with closing(open_catalog(path.lakehouse.dsn, path.lakehouse.place)) as catalog:
        table = LakeTable(catalog, "crypto_trades", epoch=0).table
        first = table.snapshots()[0]
        assert first.parent_snapshot_id is None
        update = RemoveSnapshotRefUpdate(ref_name="main")
        catalog.commit_table(table, (), (update,))
    with psycopg.connect(path.lakehouse.dsn, autocommit=True) as connection:
        connection.execute("UPDATE market.staged_files SET in_lake_time = '2020-01-01'")


def test_history_of_many_thin_days_goes_the_old_way(path: Bulk) -> None:
    days = COUNT // ROWS_A_DAY_MIN + 2
    path.journal(trades(1, COUNT, days=days))
    path.write()
    assert path.staged() == []
    path.assert_once(COUNT, hot=COUNT)


def assert_contradiction_is_said(path: Bulk) -> None:
    """Assert that another price of a staged trade becomes a note with both versions."""
    seven = pa.array([7], pa.int32()).cast(pa.decimal128(28, 10))
    other = trades(5, 1).set_column(5, "price", seven)
    with closing(Held(path.lakehouse.dsn, path.lakehouse.place)) as held:
        kept, notes = held.split("crypto_trades", other, "a file")
    assert kept.num_rows == 0
    said = orjson.loads(notes[0])
    assert (said["answer"]["price"], said["held"]["price"]) == ("7", "105")


def test_a_fault_at_any_step_loses_and_doubles_nothing(path: Bulk) -> None:
    """At each step once, then by chance; rows that come twice are among them."""
    chance = random.Random(20_261_126)
    faults = [
        (f"{at}=EIO@1", f"{then}=EIO@1") for at, then in zip(WRITING, COMMITTING, strict=True)
    ]
    lost = [f"{chance.choice(each)}=lost-answer@1" for each in (WRITING, COMMITTING)]
    faults.append((lost[0], lost[1]))
    commit = partial(path.commit, datasets=("crypto_trades",))
    for n, (writing, committing) in enumerate(faults):
        again = 500 if n else 0
        path.journal(trades(n * COUNT + 1 - again, COUNT + again, days=0.3))
        with suppress(TicklakeError, OSError):
            path.write(writing)
        assert path.count() in ((n * COUNT,) * 2, ((n + 1) * COUNT,) * 2), writing
        path.write()
        with suppress(TicklakeError, OSError):
            commit(committing)
        assert path.count() == ((n + 1) * COUNT,) * 2, committing
        commit()
        assert path.count() == ((n + 1) * COUNT,) * 2, committing
    assert not set(path.orphans()) & {each for each, _, _ in path.staged()}
    assert path.orphans() == [], "what faults left is removed, and nothing else"
    path.commit()
    path.assert_once(len(faults) * COUNT)


def test_what_is_staged_held_or_in_hot_is_not_taken_again(path: Bulk) -> None:
    path.journal(trades(1, 2_000))
    path.write()
    path.journal(trades(1, COUNT))
    path.write()
    path.assert_once(COUNT, hot=2_000)
    path.journal(trades(1, COUNT))
    path.write()
    path.commit()
    path.journal(trades(1, COUNT))
    path.write()
    path.commit()
    path.assert_once(COUNT, hot=2_000)


def test_a_writer_that_is_fenced_shows_nothing(path: Bulk) -> None:
    path.journal(trades(1, COUNT))
    mine = path.lease(shard_lease(0))
    path.leases[mine.name] = Lease(mine.name, mine.epoch - 1)
    with pytest.raises(Fenced):
        path.write()
    assert path.count() == (0, 0)
    assert path.staged() == []
    assert len(path.orphans()) == 3


def test_bars_are_made_of_what_is_staged_and_anew_where_it_comes_late(path: Bulk) -> None:
    dsn, place = path.lakehouse.dsn, path.lakehouse.place
    path.journal(trades(1, 200, days=0.05))
    path.write()
    path.commit()
    with TradesToBars(dsn, place) as bars:
        bars.drain()
        path.journal(trades(201, COUNT, days=0.05))
        path.write()
        bars.drain()
        path.commit()
        assert bars.step().snapshot_id is None, "the commit brings no rows that were not seen"
        assert bars.rebuild(OLD_US, OLD_US + DAY_US) == [], "anew from all trades, they are equal"
    with Client(dsn, place) as client:
        asked = "SELECT sum(trades)::bigint FROM bars WHERE \"interval\" = '1d'"
        assert client.polars(asked).item() == COUNT + 200


def test_a_day_of_which_hot_has_only_some_rows_leaves_by_the_same_proof(path: Bulk) -> None:
    path.journal(trades(1, 200, days=0.05))
    path.write()
    path.journal(trades(201, COUNT, days=0.05))
    path.write()
    path.commit()
    path.assert_once(COUNT + 200, hot=200)
    with psycopg.connect(path.lakehouse.dsn, autocommit=True) as connection:
        connection.execute("SELECT market.roll_up(0::smallint, 0, last_frame) FROM market.shards")
        with Client(path.lakehouse.dsn, path.lakehouse.place) as client:
            left = drop_due(connection, client, SystemClock(), grace_s=0)
    assert [(each.dropped, each.reason) for each in left] == [(True, "")]
    path.assert_once(COUNT + 200)
    path.journal(trades(COUNT + 201, ROWS_MIN, days=0.05))
    path.write()
    path.assert_once(COUNT + 200 + ROWS_MIN)
    path.commit()
    path.assert_once(COUNT + 200 + ROWS_MIN)


def test_a_batch_staged_while_a_day_is_dropped_is_not_of_its_proof(path: Bulk) -> None:
    path.journal(trades(1, 200, days=0.05))
    path.write()
    path.commit()
    late = partial(path.journal, trades(201, COUNT, days=0.05))
    with psycopg.connect(path.lakehouse.dsn, autocommit=True) as connection:
        connection.execute("SELECT market.roll_up(0::smallint, 0, last_frame) FROM market.shards")
        with Client(path.lakehouse.dsn, path.lakehouse.place) as client:
            client.refresh()
            frames = dict(connection.execute("SELECT shard, last_frame FROM market.shards"))
            day = datetime.fromtimestamp(OLD_US / 1e6, UTC).date()
            promised, _ = ledger_totals(connection, "crypto_trades", day)
            late()
            path.write()
            proof = Proof("crypto_trades", day, promised, frames, None)
            assert beyond_dropped(connection, proof) == (200, promised.digest)
