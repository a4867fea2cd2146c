"""The hot tier's writer: one transaction per micro-batch, fenced by the shard's epoch.

ADBC speaks COPY BINARY from Arrow columns: no row becomes a Python object.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

from lake.database import IDLE_IN_TRANSACTION_MS, with_options
from lake.durations import StageTimes
from lake.errors import Fenced, Unavailable
from lake.hot.lease import Lease
from lake.state import remedy
from lake.steps import LostAnswer, Steps

SCHEMA = "market"
LEDGER = "ledger_minutes"
FENCED_STATES = ("TL001", "TL002")


@dataclass(frozen=True, slots=True)
class HotBatch:
    """What one transaction writes: frames old_frame (exclusive) to last_frame (inclusive).

    tables: dataset -> rows, column order of the contract; ledger returns the rows of
    `ledger_minutes` and is called last: they may be counted while the others are copied; state:
    what the writer needs to know after a restart, stored with the shard.
    """

    shard: int
    old_frame: int
    last_frame: int
    tables: Mapping[str, pa.Table]
    ledger: Callable[[], pa.Table]
    state: Mapping[str, Any]


class HotTier:
    """A connection to PostgreSQL for one shard's writer."""

    def __init__(
        self, dsn: str, *, steps: Steps | None = None, times: StageTimes | None = None
    ) -> None:
        self._dsn = dsn
        self._steps = steps or Steps()
        self._stage = times.stage if times else lambda name: nullcontext()
        self._connection: adbc.Connection | None = None

    def write(self, batch: HotBatch, lease: Lease) -> None:
        """Write a batch in one transaction.

        Raises Fenced when the lease or the shard has moved on, Unavailable when the server can't
        be reached or the answer to the commit was lost (then only a look at the shard tells).
        """
        try:
            connection = self._open()
            with connection.cursor() as cursor:
                with self._stage("copy"):
                    for name, table in batch.tables.items():
                        _copy(cursor, name, table)
                with self._stage("ledger"):
                    _copy(cursor, LEDGER, batch.ledger())
                self._steps.at("hot.copy")
                self._advance(cursor, batch, lease)
            self._steps.at("hot.commit")
            with self._stage("commit"):
                connection.commit()
            self._steps.at("hot.committed")
        except LostAnswer as error:
            self.close()
            raise Unavailable(
                "hot tier", "the answer to a commit was lost", "look again"
            ) from error
        except adbc_driver_manager.Error as error:
            self.close()
            raise _translated(error, batch.shard) from error
        except BaseException:
            self.close()  # what is copied and not committed must not join the next batch
            raise

    def _advance(self, cursor: adbc.Cursor, batch: HotBatch, lease: Lease) -> None:
        cursor.execute(
            "SELECT market.advance_shard($1::smallint, $2, $3, $4, $5, $6::text::jsonb)",
            (
                batch.shard,
                lease.name,
                lease.epoch,
                batch.old_frame,
                batch.last_frame,
                json.dumps(batch.state, separators=(",", ":")),
            ),
        )
        cursor.fetchall()

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back by the server."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.close()
        except adbc_driver_manager.Error:
            return  # the server is gone, and the connection with it: nothing left to close

    def _open(self) -> adbc.Connection:
        if self._connection is None:
            address = with_options(
                self._dsn, idle_in_transaction_session_timeout=IDLE_IN_TRANSACTION_MS
            )
            self._connection = adbc.connect(address)
        return self._connection


def _copy(cursor: adbc.Cursor, name: str, rows: pa.Table) -> None:
    if rows.num_rows:
        cursor.adbc_ingest(name, rows, mode="append", db_schema_name=SCHEMA)


def _translated(error: adbc_driver_manager.Error, shard: int) -> Exception:
    text = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
    if error.sqlstate in FENCED_STATES or "fenced:" in text or "moved:" in text:
        return Fenced(f"shard {shard}", text, "this process must end")
    return Unavailable("hot tier", text, remedy(text, "is the server up? (`ticklake status`)"))
