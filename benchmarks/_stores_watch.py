"""Samples of how far the stores are behind the journal, while a benchmark runs."""

from __future__ import annotations

import time
from bisect import bisect_right
from contextlib import closing
from pathlib import Path

import psycopg
from sqlalchemy.exc import DBAPIError

from benchmarks.throughput import Watch
from lake.journal.durable import DurableFrame
from lake.state import postgres_dsn
from lake.tables.catalog import open_catalog
from lake.tables.names import NAMESPACE
from lake.warehouse import warehouse_of

JOURNAL_SAMPLE_S = 0.005
STORES_SAMPLE_S = 0.05
STORES = (
    "SELECT (SELECT last_frame FROM market.shards WHERE shard = 0), (SELECT metadata_location"
    " FROM public.iceberg_tables WHERE table_name = 'ingest_batches')"
)


class StoresWatch(Watch):
    """Samples the durable frame, and how far hot and lake are, until it is left.

    Each sample is (wall clock in seconds, last frame).
    """

    def __init__(self, home: Path) -> None:
        super().__init__(self._journal, self._stores)
        self.home = home
        self.dsn = postgres_dsn(home)
        self.journal = home / "journal" / "shard-0"
        self._place = ""
        self.durable: list[tuple[float, int]] = []
        self.stores: dict[str, list[tuple[float, int]]] = {"hot": [], "lake": []}

    def lags_s(self, store: str) -> list[tuple[float, float]]:
        """Return (time, age of the oldest durable frame that the store did not hold then)."""
        times = [at for at, _ in self.durable]
        frames = [frame for _, frame in self.durable]
        found = []
        for at, held in self.stores[store]:
            first = bisect_right(frames, held)
            behind = first < len(frames) and times[first] < at
            found.append((at, at - times[first] if behind else 0.0))
        return found

    def _journal(self) -> None:
        path = self.journal / "durable"
        while not path.exists():
            if self.stopped.wait(JOURNAL_SAMPLE_S):
                return
        word = DurableFrame(path)
        last = 0
        while not self.stopped.wait(JOURNAL_SAMPLE_S):
            frame = word.read() or 0
            if frame > last:
                last = frame
                self.durable.append((time.time(), frame))
        word.close()

    def _stores(self) -> None:
        warehouse = warehouse_of(self.home)
        while not self.stopped.wait(STORES_SAMPLE_S):
            try:
                with (
                    psycopg.connect(self.dsn, autocommit=True) as connection,
                    closing(open_catalog(self.dsn, warehouse)) as self._catalog,
                ):
                    while not self.stopped.wait(STORES_SAMPLE_S):
                        self._look(connection)
            except (psycopg.OperationalError, DBAPIError, OSError):
                continue  # it is away: that is what is measured

    def _look(self, connection: psycopg.Connection) -> None:
        hot, place = connection.execute(STORES).fetchone() or (None, None)
        if hot is not None:
            self.stores["hot"].append((time.time(), hot))
        if place is None or place == self._place:
            return
        try:
            table = self._catalog.load_table((NAMESPACE, "ingest_batches"))
        except FileNotFoundError:
            return  # replaced meanwhile: the next sample sees the newer one
        self._place = place
        held = int(table.properties.get("ticklake.through.0", 0))
        self.stores["lake"].append((time.time(), held))
