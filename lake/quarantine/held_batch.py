"""A batch of made rows that breaks a rule of its contract: held back until somebody decides.

It is known by its rows at fault, so the same batch made again is the same. Released, it is
published as it is; refused, it is published without those rows. Until then nothing of it is seen.
"""

from __future__ import annotations

import hashlib

import orjson
import psycopg
import pyarrow as pa

from lake.bars.audit import faults_in
from lake.clock import Clock, utc_from_us
from lake.errors import Damaged
from lake.quarantine.decisions import BATCH, RELEASED, decision_of

ROWS_KEPT_MAX = 1_000


def decided(dsn: str, dataset: str, rows: pa.Table, clock: Clock) -> pa.Table:
    """Return the rows to publish: all of them where none is at fault or they were released.

    Raises Damaged, with the batch's name, where nothing was decided yet.
    """
    faults = faults_in(dataset, rows)
    if not faults.said:
        return rows
    at_fault = faults.rows.slice(0, ROWS_KEPT_MAX).to_pylist()
    shown = orjson.dumps(at_fault, default=str)
    said = "; ".join(faults.said)
    fingerprint = hashlib.sha256(said.encode() + shown).hexdigest()
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO market.held_batches"
            " (dataset, fingerprint, faults, rows_at_fault, held_time)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (dataset, fingerprint, said, shown.decode(), utc_from_us(clock.now_us())),
        )
        connection.commit()
        row = connection.execute(
            "SELECT batch_id FROM market.held_batches WHERE dataset = %s AND fingerprint = %s",
            (dataset, fingerprint),
        ).fetchone()
        assert row is not None
        thing = f"{BATCH}{row[0]}"
        held = decision_of(connection, thing)
    if held is None:
        raise Damaged(
            f"lake.{dataset}",
            said,
            f"nothing was published; correct the rows they come from and run it again, or"
            f" `ticklake quarantine release {thing}` (as it is) or `refuse {thing}` (without them)",
        )
    return rows if held.decision == RELEASED else faults.rest
