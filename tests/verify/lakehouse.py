"""A small lakehouse built by hand: rows in hot, their ledger, and a lake through a frame."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import duckdb
import psycopg
import pyarrow as pa
from pyiceberg.table import Table

from lake import ledger
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import TICK_DATASETS, load
from lake.hot.partitions import ensure_partitions
from lake.tables.catalog import ensure_table, open_catalog
from lake.verify.report import Report
from lake.verify.verify import verify
from lake.warehouse import Folder, Warehouse

NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)
EVENTS_PER_FRAME = 4
DATASETS = ("crypto_trades", "quarantine", "ingest_batches")
SETTLE_TRIES_MAX = 500

_OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' "
    "AND datname = current_database() AND pid <> pg_backend_pid()"
)


def trade(frame: int, i: int, shard: int = 0) -> dict[str, Any]:
    """Return the i-th trade of a frame; a frame a second."""
    time = NOON + timedelta(seconds=frame, milliseconds=i)
    return {
        "ticker": ("X:BTCUSD", "X:ETHUSD")[i % 2],
        "exchange": "sim:1",
        "market": "spot",
        "trade_id": f"{shard}-{frame}-{i}" if i else None,
        "event_time": time,
        "received_time": time + timedelta(milliseconds=7),
        "price": Decimal(30_000 + frame) + Decimal(i) / 10,
        "size": Decimal("0.25"),
        "side": ("buy", "sell", None)[i % 3],
        "conditions": "2" if i % 2 else None,
        "shard": shard,
        "seq": frame << 16 | i,
    }


def poison(frame: int, i: int, shard: int = 0) -> dict[str, Any]:
    """Return a quarantined event of a frame."""
    return {
        "feed": "sim",
        "connection": 0,
        "received_time": NOON + timedelta(seconds=frame),
        "reason": "bad-price",
        "detail": "price: NaN",
        "place": f"frame {frame} event {i} $.p",
        "raw": b'{"ev":"XT","p":\xff}',
        "shard": shard,
        "seq": frame << 16 | i,
    }


@dataclass
class Lakehouse:
    """One database and one warehouse; a path is a folder's."""

    dsn: str
    warehouse: Warehouse | Path
    frames: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.catalog = open_catalog(self.dsn, self.place)

    @property
    def place(self) -> Warehouse:
        """Where the files lie."""
        return Folder(self.warehouse) if isinstance(self.warehouse, Path) else self.warehouse

    def close(self) -> None:
        self.catalog.engine.dispose()

    def table(self, dataset: str = "crypto_trades") -> Table:
        """Return a lake table as it is now."""
        return ensure_table(self.catalog, dataset)

    def sql(self, statement: str, *values: object) -> int:
        """Run a statement in the hot tier by hand; return the rows it touched."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(statement.encode(), values or None).rowcount

    def start_shard(self, shard: int) -> None:
        """Announce a shard to hot tier and lake."""
        self.frames[shard] = 0
        self.sql("INSERT INTO market.shards (shard) VALUES (%s)", shard)
        for dataset in DATASETS:
            with self.table(dataset).transaction() as change:
                change.set_properties({f"ticklake.through.{shard}": "0"})

    def write(
        self,
        frames: int = 10,
        shard: int = 0,
        tables: dict[str, list[dict[str, Any]]] | None = None,
    ) -> None:
        """Write one batch as the hot writer does: rows, batch, ledger and shard together."""
        if shard not in self.frames:
            self.start_shard(shard)
        first = self.frames[shard] + 1
        last = first + frames - 1
        numbered = [(f, i) for f in range(first, last + 1) for i in range(EVENTS_PER_FRAME - 1)]
        rows = tables or {
            "crypto_trades": [trade(f, i, shard) for f, i in numbered],
            "quarantine": [poison(f, EVENTS_PER_FRAME - 1, shard) for f in range(first, last + 1)],
        }
        stored = sum(len(found) for name, found in rows.items() if name != "quarantine")
        quarantined = len(rows.get("quarantine", ()))
        rows["ingest_batches"] = [batch_row(shard, first, last, stored, quarantined)]
        self._insert({name: arrow(name, found) for name, found in rows.items()}, shard, first, last)
        self.frames[shard] = last

    def _insert(self, tables: dict[str, pa.Table], shard: int, first: int, last: int) -> None:
        entries = [ledger_rows(name, rows, shard, first, last) for name, rows in tables.items()]
        self.insert({**tables, "ledger_minutes": pa.concat_tables(entries)}, shard, last)

    def insert(self, tables: Mapping[str, pa.Table], shard: int, last: int) -> None:
        """Write a batch's tables, its ledger among them, and move the shard, in one transaction."""
        with psycopg.connect(self.dsn) as connection:
            for dataset in set(tables) & set(TICK_DATASETS):
                days = {time.date() for time in tables[dataset]["event_time"].to_pylist()}
                ensure_partitions(connection, dataset, days)
        with adbc.connect(self.dsn) as connection, connection.cursor() as cursor:
            for dataset, rows in tables.items():
                if rows.num_rows:
                    cursor.adbc_ingest(dataset, rows, mode="append", db_schema_name="market")
            cursor.execute(f"UPDATE market.shards SET last_frame = {last} WHERE shard = {shard}")
            connection.commit()

    def commit(self, datasets: Sequence[str] = DATASETS) -> None:
        """Append every hot row that the lake lacks, and move `through`, in one commit a table."""
        for dataset in datasets:
            table = self.table(dataset)
            with duckdb.connect() as reader:
                rows = self._hot_rows(reader, dataset, table)
            through = {f"ticklake.through.{s}": str(last) for s, last in self.frames.items()}
            with table.transaction() as change:
                change.set_properties(through)
                if rows.num_rows:
                    change.append(rows.cast(table.schema().as_arrow()), through)

    def _hot_rows(self, reader: duckdb.DuckDBPyConnection, dataset: str, table: Table) -> pa.Table:
        names = load(dataset).names
        beyond = " OR ".join(
            f"(shard = {s} AND seq >= {(int(table.properties[f'ticklake.through.{s}']) + 1) << 16})"
            for s in self.frames
        )
        columns = ", ".join(f'"{name}"' for name in names)
        query = f"SELECT {columns} FROM market.{dataset} WHERE {beyond} ORDER BY shard, seq"
        with psycopg.connect(self.dsn) as connection:
            found = connection.execute(query.encode()).fetchall()
        return arrow(dataset, [dict(zip(names, row, strict=True)) for row in found])

    def verify(
        self, *, journal: Path | None = None, full: bool = False, dsn: str | None = None
    ) -> Report:
        """Verify once every session of this test has ended, so that marks can be trusted."""
        self.catalog.engine.dispose()
        self._settle()
        return verify(dsn=dsn or self.dsn, journal=journal, warehouse=self.place, full=full)

    def _settle(self) -> None:
        name = "ticklake-test"
        with psycopg.connect(self.dsn, autocommit=True, application_name=name) as connection:
            for _ in range(SETTLE_TRIES_MAX):
                others = connection.execute(_OTHERS).fetchone()
                if others == (0,):
                    break
                connection.execute("SELECT pg_sleep(0.01)")


def arrow(dataset: str, rows: list[dict[str, Any]]) -> pa.Table:
    """Return rows as the contract's columns."""
    return pa.Table.from_pylist(rows, schema=arrow_schema(load(dataset)))


def batch_row(shard: int, first: int, last: int, stored: int, quarantined: int) -> dict[str, Any]:
    """Return an ingest_batches row; two events a batch were heartbeats."""
    return {
        "shard": shard,
        "epoch": 1,
        "first_frame": first,
        "last_frame": last,
        "feed": "sim",
        "codec_version": 1,
        "frames": last - first + 1,
        "events": stored + quarantined + 2,
        "stored": stored,
        "quarantined": quarantined,
        "duplicate": 0,
        "ignored": 2,
        "ignored_kinds": json.dumps({"heartbeat": 2}),
        "committed_time": NOON + timedelta(seconds=last),
        "seq": last << 16,
    }


def ledger_rows(dataset: str, rows: pa.Table, shard: int, first: int, last: int) -> pa.Table:
    """Return the ledger's rows of one dataset in one batch."""
    with duckdb.connect() as calculator:
        calculator.execute("SET TimeZone = 'UTC'")
        totals = ledger.batch_totals(calculator, dataset, rows)
    found = [
        {**row, "shard": shard, "first_frame": first, "last_frame": last, "seq": last << 16}
        for row in totals.to_pylist()
    ]
    return arrow("ledger_minutes", found)


def faults(report: Report, tier: str) -> list[str]:
    """Return the faults as texts; all must be of one tier."""
    assert {fault.tier for fault in report.faults} == {tier}, str(report)
    return [str(fault) for fault in report.faults]
