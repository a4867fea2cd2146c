"""Arrange a database as its server's edition can: at every start, and only what is missing.

Raw rows never leave by a policy of the server: it could not ask for proof
(lake.ingest.hot_to_dropped does).
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from lake.contracts.contract import TICK_DATASETS, load
from lake.errors import BadInput
from lake.hot.bars import REFRESH_EVERY, make_bars, window_days
from lake.hot.edition import Edition, ask, check_version, is_hypertable, leave_age_days
from lake.hot.migrations import MIGRATION_LOCK, migrate
from lake.hot.slots import PINS_MAX, pin

CHUNK_HOURS = 24
DAY_HOURS = 24

COMPRESS_EVERY = "1 hour"


def prepare(
    connection: psycopg.Connection,
    *,
    chunk_hours: int = CHUNK_HOURS,
    pinned: Sequence[str] = (),
) -> Edition:
    """Migrate and arrange a database, new or old; safe when several processes call it at once.

    Raises BadInput for a server that is too old, and as migrate and arrange do.
    """
    row = connection.execute(
        "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
    ).fetchone()
    check_version(connection.info.server_version, row[0] if row else None)
    connection.commit()
    migrate(connection)
    return arrange(connection, chunk_hours=chunk_hours, pinned=pinned)


def arrange(
    connection: psycopg.Connection,
    *,
    chunk_hours: int = CHUNK_HOURS,
    pinned: Sequence[str] = (),
) -> Edition:
    """Bring tables, compression and policies to what the contracts say; return the edition.

    After migrate, in one transaction, one process at a time. chunk_hours: length of a hypertable's
    chunks made from now on, in hours, a divisor of 24 so that days can leave one by one. pinned:
    tickers with a slot of their own. Raises BadInput for a length that does not fit.
    """
    if DAY_HOURS % chunk_hours:
        raise BadInput(
            "TICKLAKE_HOT_CHUNK_HOURS", f"{chunk_hours} h do not fill a day", "a divisor of 24"
        )
    if len(pinned) > PINS_MAX:
        raise BadInput(
            "TICKLAKE_HOT_PINNED_TICKERS", f"{len(pinned)} tickers", f"at most {PINS_MAX}"
        )
    edition = ask(connection)
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        pin(connection, pinned)
        hyper = [dataset for dataset in TICK_DATASETS if is_hypertable(connection, dataset)]
        for dataset in hyper:
            _cut_time(connection, dataset, chunk_hours)
            if edition.compresses:
                _compress(connection, dataset)
        continuous = edition.compresses and "crypto_trades" in hyper
        if make_bars(connection, continuous=continuous) and continuous:
            _refresh(connection, edition)
        connection.execute("SELECT market.make_bar_tails()")
        connection.execute("SELECT market.make_tick_tails(%s)", (edition.compresses,))
        connection.execute("SELECT market.grant_roles()")
    return edition


def _cut_time(connection: psycopg.Connection, dataset: str, chunk_hours: int) -> None:
    row = connection.execute(
        "SELECT time_interval = make_interval(hours => %s) FROM timescaledb_information.dimensions"
        " WHERE hypertable_schema = 'market' AND hypertable_name = %s"
        " AND dimension_type = 'Time'",
        (chunk_hours, dataset),
    ).fetchone()
    if row and not row[0]:
        connection.execute(
            "SELECT set_chunk_time_interval(%s::regclass, make_interval(hours => %s))",
            (f"market.{dataset}", chunk_hours),
        )


def _compress(connection: psycopg.Connection, dataset: str) -> None:
    """Compress by ticker at the contract's age. seq comes last in the order: its bounds then stand
    with every batch of rows, and a reader of new rows passes old ones by.
    """
    contract = load(dataset)
    row = connection.execute(
        "SELECT compression_enabled FROM timescaledb_information.hypertables"
        " WHERE hypertable_schema = 'market' AND hypertable_name = %s",
        (dataset,),
    ).fetchone()
    if row and not row[0]:
        connection.execute(
            sql.SQL(
                "ALTER TABLE {} SET (timescaledb.compress, timescaledb.compress_segmentby = {},"
                " timescaledb.compress_orderby = 'event_time DESC, seq DESC')"
            ).format(sql.Identifier("market", dataset), contract.ledger_ticker)
        )
    age = f"{contract.compression_days} days"
    found = connection.execute(
        "SELECT (config ->> 'compress_after')::interval = %s::interval"
        " FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression'"
        " AND hypertable_schema = 'market' AND hypertable_name = %s",
        (age, dataset),
    ).fetchone()
    table = f"market.{dataset}"
    if found and (not found[0] or contract.compression_days is None):
        connection.execute("SELECT remove_compression_policy(%s::regclass)", (table,))
        found = None
    if found is None and contract.compression_days is not None:
        connection.execute(
            "SELECT add_compression_policy(%s::regclass, %s::interval,"
            " schedule_interval => %s::interval)",
            (table, age, COMPRESS_EVERY),
        )


def _refresh(connection: psycopg.Connection, edition: Edition) -> None:
    """Give the continuous aggregates their policies: bars are refreshed while their trades are
    there, and kept as long as the contract says of published bars.
    """
    for level, every in REFRESH_EVERY.items():
        view = f"market.crypto_agg_{level}"
        connection.execute(
            "SELECT add_continuous_aggregate_policy(%s::regclass, start_offset => %s::interval,"
            " end_offset => %s::interval, schedule_interval => %s::interval)",
            (view, f"{window_days(edition)} days", _END_OFFSETS[level], every),
        )
        age_days = leave_age_days("crypto_aggregates", edition)
        if age_days is not None:
            connection.execute(
                "SELECT add_retention_policy(%s::regclass, %s::interval)",
                (view, f"{age_days} days"),
            )


_END_OFFSETS = {"1m": "1 minute", "5m": "5 minutes", "1h": "1 hour", "1d": "1 day"}
"""The bar that is not over yet is left to the one who asks."""
