"""The book of quality: results, how far was looked, and models, in the hot tier.

What a run found and how far it looked are one transaction, under the epoch of its turn: a run that
died left nothing, one that was overtaken is refused. Runs and so `seq` rise, and by that the rows
go to the lake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import psycopg

from lake.clock import utc_from_us
from lake.contracts.contract import load
from lake.errors import Fenced
from lake.hot.lease import Lease
from lake.quality.anomaly import AnomalyModel, model_of
from lake.quality.rule import Result
from lake.steps import Steps
from lake.views.union_view import INDEX_BITS

DATASET = "quality_results"
"""Also the name of the lease under which it is written."""

FLOW_SHARD = -1
"""Stands in for the shard of rows that no journal holds, and for that of bars among the marks."""

NAMES = load(DATASET).names


def marks(connection: psycopg.Connection) -> dict[int, int]:
    """Return how far was looked: shard -> last frame; FLOW_SHARD -> microseconds, of bars."""
    return dict(connection.execute("SELECT shard, mark FROM market.quality_marks").fetchall())


def record(
    connection: psycopg.Connection,
    lease: Lease,
    results: Sequence[Result],
    moved: Mapping[int, int],
    now_us: int,
    steps: Steps | None = None,
) -> int:
    """Write a run's results and marks in one transaction; return its number.

    Raises Fenced when another run has begun.
    """
    now = utc_from_us(now_us)
    with connection.transaction():
        held = connection.execute(
            "SELECT epoch FROM market.leases WHERE name = %s FOR SHARE", (lease.name,)
        ).fetchone()
        if held is None or held[0] != lease.epoch:
            raise Fenced("quality", "another run has begun meanwhile", "let it finish")
        row = connection.execute(
            "INSERT INTO market.quality_runs (started_time) VALUES (%s) RETURNING run_id", (now,)
        ).fetchone()
        assert row is not None
        run = int(row[0])
        with connection.cursor() as cursor:
            places = ", ".join(["%s"] * len(NAMES))
            cursor.executemany(
                f"INSERT INTO market.{DATASET} ({', '.join(NAMES)}) VALUES ({places})".encode(),
                [_row(run, n, result, now) for n, result in enumerate(results)],
            )
            cursor.executemany(
                "INSERT INTO market.quality_marks VALUES (%s, %s)"
                " ON CONFLICT (shard) DO UPDATE SET mark = excluded.mark",
                list(moved.items()),
            )
        if steps is not None:
            steps.at("quality.written")
    return run


def newest_models(connection: psycopg.Connection) -> list[AnomalyModel]:
    """Return the newest version of each interval's model."""
    rows = connection.execute(
        'SELECT DISTINCT ON ("interval") parameters FROM market.quality_models'
        ' ORDER BY "interval", version DESC'
    ).fetchall()
    return [model for (each,) in rows if (model := model_of(each)) is not None]


def next_version(connection: psycopg.Connection, interval: str) -> int:
    """Return the version that a new model of an interval gets."""
    row = connection.execute(
        'SELECT coalesce(max(version), 0) + 1 FROM market.quality_models WHERE "interval" = %s',
        (interval,),
    ).fetchone()
    assert row is not None
    return int(row[0])


def keep_model(
    connection: psycopg.Connection,
    model: AnomalyModel,
    trained_on: tuple[int, datetime, datetime],
    now_us: int,
) -> None:
    """Keep a version; trained_on: bars, first and last event time of its training."""
    connection.execute(
        'INSERT INTO market.quality_models ("interval", version, trained_time, bars, from_time,'
        " to_time, parameters) VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            model.interval,
            model.version,
            utc_from_us(now_us),
            *trained_on,
            orjson.dumps(model.parameters()).decode(),
        ),
    )


def latest(connection: psycopg.Connection, *, every: bool) -> list[dict[str, Any]]:
    """Return the newest result of each rule, or with every False only of those that failed then."""
    return _rows(
        connection,
        f"SELECT * FROM (SELECT DISTINCT ON (dataset, rule) * FROM market.{DATASET}"
        " ORDER BY dataset, rule, run_id DESC) AS newest"
        + ("" if every else " WHERE status = 'failed'")
        + " ORDER BY severity, dataset, rule",
    )


def of_run(connection: psycopg.Connection, run: int) -> list[dict[str, Any]]:
    """Return what a run found, failed rules first."""
    return _rows(
        connection,
        f"SELECT * FROM market.{DATASET} WHERE run_id = %s ORDER BY status, dataset, rule",
        run,
    )


def _rows(connection: psycopg.Connection, query: str, *values: object) -> list[dict[str, Any]]:
    cursor = connection.execute(query.encode(), values or None)
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    for row in found:
        row["rows_at_fault"] = orjson.loads(row["rows_at_fault"] or "[]")
    return found


def _row(run: int, index: int, result: Result, now: datetime) -> tuple[Any, ...]:
    rule = result.rule
    return (
        run,
        rule.dataset,
        rule.name,
        rule.kind,
        rule.dimension,
        rule.severity,
        "passed" if result.holds else "failed",
        result.checked,
        result.failed,
        orjson.dumps(result.rows, default=str).decode() if result.rows else None,
        rule.meaning,
        rule.remedy,
        rule.version,
        None if result.from_us is None else utc_from_us(result.from_us),
        None if result.to_us is None else utc_from_us(result.to_us),
        now,
        FLOW_SHARD,
        run << INDEX_BITS | index,
    )
