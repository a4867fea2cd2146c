"""Where one simulated lakehouse lives, and how it is looked at from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io import PY_IO_IMPL

from lake.clock import ManualClock
from lake.ingest.hot_to_lake import BOOKS
from lake.tables.catalog import open_catalog
from lake.tables.upkeep import UpkeepLimits
from tests.path.chaos.disk import RECORDED
from tests.path.lakehouse import NOW_MS

DATASETS = (
    *("crypto_trades", "crypto_quotes", "crypto_aggregates", "quarantine", "ingest_batches"),
    *BOOKS,
)
"""Tables of the lake that the simulation fills."""

LIMITS = UpkeepLimits(merge_factor=2, snapshots_max=3, snapshots_kept=2)

OURS = "chaos"
"""Application name of the sessions that watch; a severed server keeps them."""


@dataclass
class Place:
    """A database, a folder and a clock."""

    dsn: str
    folder: Path
    control: psycopg.Connection
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW_MS * 1000))
    catalogs: list[SqlCatalog] = field(default_factory=list)

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    def shard(self, shard: int) -> Path:
        return self.journal / f"shard-{shard}"

    def catalog(self, epoch: int | None = None) -> SqlCatalog:
        """Open the catalog, with files that the disk's simulation knows of."""
        catalog = open_catalog(self.dsn, str(self.folder / "warehouse"), epoch=epoch)
        catalog.properties[PY_IO_IMPL] = RECORDED
        self.catalogs.append(catalog)
        return catalog

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query in PostgreSQL."""
        return self.control.execute(sql, parameters).fetchall()  # type: ignore[arg-type]

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Run a statement in PostgreSQL."""
        self.control.execute(sql, parameters)  # type: ignore[arg-type]

    def expire_lease(self, name: str) -> None:
        """Let a lease's heartbeat be old, so that another may take it."""
        self.execute(
            "UPDATE market.leases SET heartbeat = now() - interval '1 hour' WHERE name = %s",
            [name],
        )

    def last_frames(self) -> dict[int, int]:
        """Return shard -> last frame in the hot tier."""
        return dict(self.query("SELECT shard::int, last_frame FROM market.shards ORDER BY shard"))

    def days_dropped(self) -> dict[tuple[str, date], int]:
        """Return how often each day of a dataset left hot."""
        found = self.query(
            "SELECT dataset, day, count(*) FROM market.dropped_partitions GROUP BY dataset, day"
        )
        return {(dataset, day): times for dataset, day, times in found}

    def frames_of_day(self, dataset: str, day: date) -> dict[int, int]:
        """Return shard -> last frame with rows of a day."""
        return dict(
            self.query(
                "SELECT shard::int, max(last_frame) FROM market.ledger_minutes WHERE dataset = %s"
                " AND (minute AT TIME ZONE 'UTC')::date = %s GROUP BY shard",
                [dataset, day],
            )
        )

    def state(self) -> list[tuple[Any, ...]]:
        """Return what a fenced owner must not change."""
        counts = " UNION ALL ".join(
            f"SELECT '{name}', count(*)::text FROM market.{name}" for name in DATASETS
        )
        return self.query(
            "SELECT shard::text, last_frame::text || trade_high::text FROM market.shards"
            " UNION ALL SELECT table_name, metadata_location FROM public.iceberg_tables"
            f" UNION ALL {counts} ORDER BY 1, 2"
        )

    def sever(self) -> None:
        """End every session but the watchers', as a restart of the server does."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name <> %s"
            " AND backend_type = 'client backend'",
            [OURS],
        )

    def close(self) -> None:
        """Let go of the catalogs."""
        for catalog in self.catalogs:
            catalog.engine.dispose()
        self.control.close()
