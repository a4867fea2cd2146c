"""Keeps what models say in model_predictions, in a thread of its own: who tells never waits for it.

A version says one thing of a row of features, whoever is first, this or the batch; what is there
already is left out. While the database is away rows wait, up to ROWS_MAX; those beyond are left to
the batch, and counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence

import psycopg
import pyarrow as pa

from feature_repo.models.predictions import DATASET
from lake.errors import TicklakeError
from lake.hot.numbered import append
from serving.signals.scoring import Spoken

LOG = logging.getLogger("ticklake.signals")
ROWS_MAX = 50_000
"""Rows that wait: some 100 MB."""

ROWS_AT_ONCE = 5_000
AGAIN_S = 1.0
TRIES_MAX = 3
"""Tries anew where another was first meanwhile."""

KEY = (
    "model",
    "model_version",
    "ticker",
    "exchange",
    "market",
    "interval",
    "event_time",
    "features_time",
)
"""What a version says one thing of: the table's unique index."""

_KEY = ", ".join(f'"{name}"' for name in KEY)
_SAID = (
    "SELECT n - 1 FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[],"
    " %s::text[], %s::timestamptz[], %s::timestamptz[])"
    f" WITH ORDINALITY AS asked ({_KEY}, n) JOIN market.{DATASET} USING ({_KEY})"
)


def record(connection: psycopg.Connection, rows: pa.Table) -> int:
    """Add the rows that nobody has said yet; return how many. rows: of scoring.Spoken.table.

    connection: in autocommit. Raises psycopg.Error.
    """
    for _ in range(TRIES_MAX):
        left = _unsaid(connection, rows)
        if not left.num_rows:
            return 0
        try:
            append(connection, DATASET, left)
            return int(left.num_rows)
        except psycopg.errors.UniqueViolation:
            continue  # the batch was first meanwhile
    return 0


def _unsaid(connection: psycopg.Connection, rows: pa.Table) -> pa.Table:
    columns = [rows[name].to_pylist() for name in KEY]
    said = {n for (n,) in connection.execute(_SAID, columns)}
    seen: set[tuple[object, ...]] = set()
    kept = []
    for n, key in enumerate(zip(*columns, strict=True)):
        if n not in said and key not in seen:
            seen.add(key)
            kept.append(n)
    return rows.take(pa.array(kept, pa.int64()))


class Recorder:
    """put() by one thread, run() in another; ends with what waits where `stop` is set."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._waiting: deque[Spoken] = deque()
        self._rows = 0
        self._changed = threading.Condition()
        self.stop = threading.Event()
        self.recorded = 0
        self.left_out = 0

    def put(self, spoken: Sequence[Spoken]) -> None:
        """Let it be kept; it is explained first, here in the other thread."""
        with self._changed:
            for each in spoken:
                if self._rows + len(each.rows) > ROWS_MAX:
                    self.left_out += len(each.rows)
                    continue
                self._waiting.append(each)
                self._rows += len(each.rows)
            self._changed.notify()

    def end(self) -> None:
        """Let run() end once it has tried to keep what waits."""
        self.stop.set()
        with self._changed:
            self._changed.notify()

    def run(self) -> None:
        """Keep what is put, for as long as it is let; while the database is away, try again."""
        while not self.stop.is_set() or self._rows:
            try:
                with psycopg.connect(self._dsn, autocommit=True, connect_timeout=5) as connection:
                    while self._keep(connection):
                        pass
                return
            except psycopg.Error as error:
                LOG.warning("%s: %s", DATASET, " ".join(str(error).split()))
                if self.stop.is_set():
                    return
                self.stop.wait(AGAIN_S)

    def _keep(self, connection: psycopg.Connection) -> bool:
        """Keep some of what waits; False where nothing does and nothing will."""
        with self._changed:
            while not self._waiting:
                if self.stop.is_set():
                    return False
                self._changed.wait(AGAIN_S)
            taken = self._some()
        explained = [each if each.said.parts is not None else each.explained() for each in taken]
        rows = pa.concat_tables([each.table() for each in explained])
        try:
            self.recorded += record(connection, rows)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise  # the server is away, or has no room: they wait
        except (psycopg.Error, TicklakeError) as error:
            LOG.warning("%s: %s", DATASET, " ".join(str(error).split()))
            self.left_out += rows.num_rows
        with self._changed:
            for each in taken:
                self._waiting.popleft()
                self._rows -= len(each.rows)
        return True

    def _some(self) -> list[Spoken]:
        found: list[Spoken] = []
        rows = 0
        for each in self._waiting:
            if found and rows + len(each.rows) > ROWS_AT_ONCE:
                break
            found.append(each)
            rows += len(each.rows)
        return found
