"""What each role of the database must be able to do, and what it must not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict

from lake.contracts.contract import TICK_DATASETS
from lake.hot import lease
from lake.hot.hot_tier import HotBatch, HotTier
from lake.hot.partitions import ensure_partitions
from lake.ingest.journal_to_hot import load_shard
from lake.roles import ROLES, database_role
from lake.state import read_state, with_user
from lake.views.client import Client
from tests.verify.lakehouse import arrow, batch_row, ledger_rows, trade

PASSWORD = "only-for-tests"
STACK = "TICKLAKE_TEST_STACK"
DAY = date(2024, 8, 8)
SHARD = 3

TICKS = ", ".join(f"market.{name}" for name in TICK_DATASETS)
PRIVATE = (
    "ledger_minutes",
    "leases",
    "sealed_segments",
    "verified_frames",
    "verified_units",
    "verified_files",
    "lake_removals",
    "dropped_partitions",
    "alerts",
    "roll_1m",
    "schema_migrations",
)

Login = Callable[[str], str]


@pytest.fixture
def login(edition: str, edition_dsn: str) -> Iterator[Login]:
    """Return what gives the DSN of a role; the database has a trade of DAY in shard 3."""
    passwords = dict.fromkeys(ROLES, PASSWORD) | stack_passwords(edition)
    with psycopg.connect(edition_dsn) as owner:
        for name, password in passwords.items():
            if password == PASSWORD:
                owner.execute(
                    sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
                        sql.Identifier(database_role(name)), password
                    )
                )
        owner.execute("SELECT market.grant_roles()")
        owner.commit()
        ensure_partitions(owner, "crypto_trades", [DAY])

    def dsn(name: str) -> str:
        return with_user(edition_dsn, database_role(name), passwords[name])

    write_batch(dsn("ingest"), 0, 1)
    return dsn


def stack_passwords(edition: str) -> dict[str, str]:
    """Return role -> password where the server is a running stack's: its logins are in use."""
    home = os.environ.get(STACK)
    if edition != "apache" or not home:
        return {}
    roles = read_state(Path(home))["roles"]
    return {name: str(conninfo_to_dict(each["dsn"])["password"]) for name, each in roles.items()}


def write_batch(dsn: str, old_frame: int, last_frame: int) -> None:
    """Write one batch just as the mover does, with the lease that it takes for itself."""
    rows = {
        "crypto_trades": arrow("crypto_trades", [trade(last_frame, 1, SHARD)]),
        "ingest_batches": arrow(
            "ingest_batches", [batch_row(SHARD, old_frame + 1, last_frame, 1, 0)]
        ),
    }
    entries = [
        ledger_rows(name, table, SHARD, old_frame + 1, last_frame) for name, table in rows.items()
    ]
    with psycopg.connect(dsn, autocommit=True) as connection:
        held = lease.take(connection, lease.shard_lease(SHARD))
        assert held is not None
        assert load_shard(connection, SHARD).last_frame == old_frame
        ensure_partitions(connection, "crypto_trades", [DAY])
        writer = HotTier(dsn)
        try:
            writer.write(
                HotBatch(SHARD, old_frame, last_frame, rows, lambda: pa.concat_tables(entries), {}),
                held,
            )
        finally:
            writer.close()
        lease.release(connection, held)


def run(dsn: str, statement: str) -> list[tuple[object, ...]]:
    """Run one statement of a role."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = connection.execute(statement.encode())
        return found.fetchall() if found.description else []


def refused(dsn: str, statement: str) -> None:
    """Assert that a role may not do it."""
    with pytest.raises(errors.InsufficientPrivilege):
        run(dsn, statement)


WRITES = (
    "DELETE FROM market.crypto_trades",
    "UPDATE market.crypto_trades SET price = 0",
    "TRUNCATE market.crypto_trades",
    "DROP TABLE market.crypto_trades",
    "CREATE TABLE market.mine (i int)",
    "CREATE TABLE public.mine (i int)",
    "CREATE TEMP TABLE mine (i int)",
    "UPDATE market.ledger_minutes SET rows = 0",
    "UPDATE market.shards SET last_frame = 0",
    "UPDATE market.ingest_batches SET stored = 0",
    "DELETE FROM market.ledger_minutes",
    "DELETE FROM market.quarantine",
    "DELETE FROM market.leases",
    "DELETE FROM market.sealed_segments",
    "DELETE FROM market.model_predictions",
    "UPDATE market.model_predictions SET prediction = 1",
    "DELETE FROM public.iceberg_tables WHERE table_namespace = 'market'",
    "ALTER TABLE market.leases DISABLE TRIGGER keep_epoch",
    "ALTER TABLE public.iceberg_tables DISABLE ROW LEVEL SECURITY",
    "CREATE ROLE friend SUPERUSER",
    "SET ROLE ticklake",
)

NEVER = [
    (name, statement)
    for name in ("ingest", "lake_writer", "verifier", "analyst", "service")
    for statement in WRITES
]


def test_no_role_but_the_operator_changes_what_is_stored(login):
    for name, statement in NEVER:
        refused(login(name), statement)


def test_ingest_appends_and_makes_the_days_that_it_needs(login, edition_dsn):
    write_batch(login("ingest"), 1, 2)
    with psycopg.connect(login("ingest"), autocommit=True) as connection:
        ensure_partitions(connection, "crypto_quotes", [date(2023, 4, 4)])
    assert run(edition_dsn, "SELECT count(*) FROM market.crypto_trades") == [(2,)]


def test_ingest_commits_nothing_to_the_lake_and_no_epoch_goes_down(login):
    ingest = login("ingest")
    refused(ingest, "INSERT INTO public.iceberg_tables VALUES ('ticklake', 'market', 'x', 'y')")
    refused(ingest, "UPDATE public.iceberg_tables SET metadata_location = 'mine'")
    refused(ingest, "UPDATE market.feed_gaps SET closed_time = now()")
    refused(ingest, "INSERT INTO market.shards (shard, last_frame) VALUES (9, 9)")
    with pytest.raises(errors.RaiseException, match="never goes down"):
        run(ingest, "UPDATE market.leases SET epoch = 0")


def test_lake_writer_moves_the_catalog_of_market_and_no_other(login, edition_dsn):
    writer = login("lake_writer")
    row = "INSERT INTO public.iceberg_tables VALUES ('ticklake', '{}', 'crypto_trades', 'a')"
    run(writer, row.format("market"))
    run(writer, "UPDATE public.iceberg_tables SET metadata_location = 'b'")
    refused(writer, row.format("research"))
    run(writer, "INSERT INTO market.lake_removals (dataset, path) VALUES ('crypto_trades', 'p')")
    refused(writer, "INSERT INTO market.crypto_trades SELECT * FROM market.crypto_trades")
    refused(writer, "INSERT INTO market.shards (shard) VALUES (9)")
    assert run(edition_dsn, "SELECT metadata_location FROM public.iceberg_tables") == [("b",)]


def test_a_fenced_committer_is_refused_whatever_its_role(login, edition_dsn):
    run(edition_dsn, "INSERT INTO market.leases (name, epoch) VALUES ('committer', 7)")
    with (
        psycopg.connect(login("lake_writer"), options="-c ticklake.epoch=6") as connection,
        pytest.raises(psycopg.DatabaseError, match="fenced"),
    ):
        connection.execute(
            "INSERT INTO public.iceberg_tables VALUES ('ticklake', 'market', 'crypto_trades', 'a')"
        )


def test_verifier_reads_all_and_writes_marks_and_seals_only(login):
    verifier = login("verifier")
    assert run(verifier, "SELECT count(*) FROM market.ledger_minutes") == [(2,)]
    run(verifier, "DELETE FROM market.verified_units")
    run(
        verifier,
        "INSERT INTO market.sealed_segments (shard, first_frame, last_frame, frames, events,"
        " digest) VALUES (3, 1, 1, 1, 1, '')",
    )
    refused(verifier, "INSERT INTO market.ledger_minutes SELECT * FROM market.ledger_minutes")
    refused(verifier, "INSERT INTO market.lake_marks VALUES ('crypto_trades', 1, '{}')")
    refused(verifier, "SELECT market.advance_shard(3::smallint, 'shard-3', 1, 1, 2, '{}')")


@pytest.mark.parametrize("name", ["analyst", "researcher", "service"])
def test_readers_see_market_data_fresh(login, name):
    with Client(login(name)) as client:
        assert client.arrow("FROM crypto_trades").num_rows == 1
    found = run(login(name), "SELECT count(*) FROM market.crypto_trades_tail WHERE snapshot_id = 0")
    assert found == [(1,)]
    for view in ("feed_gaps", "quarantine", "ingest_batches", "crypto_agg_1m"):
        run(login(name), f"SELECT count(*) FROM market.{view}")


def test_the_operator_lets_quarantined_rows_go_that_are_proven(login):
    """As whoever lets days leave: no other role may (WRITES)."""
    assert run(login("operator"), "DELETE FROM market.quarantine RETURNING seq") == []


def test_predictions_are_added_by_the_service_and_the_operator_alone(edition_dsn):
    asked = "SELECT has_table_privilege('{}', 'market.model_predictions', 'INSERT')"
    may = {name for name in ROLES if run(edition_dsn, asked.format(database_role(name)))[0][0]}
    assert may == {"service", "operator"}


def test_an_analyst_reads_no_ledger_and_no_book_of_the_store(login):
    for table in PRIVATE:
        refused(login("analyst"), f"SELECT count(*) FROM market.{table}")


def test_an_analyst_writes_nothing_anywhere(login):
    analyst = login("analyst")
    refused(analyst, "INSERT INTO market.crypto_trades SELECT * FROM market.crypto_trades")
    refused(analyst, "CREATE TABLE research.mine (i int)")
    refused(analyst, "UPDATE public.iceberg_tables SET metadata_location = 'mine'")
    refused(analyst, "INSERT INTO public.iceberg_tables VALUES ('ticklake', 'research', 'x', 'y')")
    refused(analyst, "INSERT INTO public.iceberg_namespace_properties VALUES ('a', 'b', 'c', 'd')")
    refused(analyst, f"SELECT market.make_partition('crypto_trades', '{DAY}', 0, '{{}}')")
    refused(analyst, "SELECT market.advance_shard(3::smallint, 'shard-3', 1, 1, 2, '{}')")
    refused(analyst, "ALTER ROLE market_analyst SUPERUSER")
    refused(analyst, "COPY market.crypto_trades TO PROGRAM 'cat'")
    refused(analyst, "SELECT pg_read_file('/etc/passwd')")


def test_a_researcher_writes_its_own_schema_and_namespace_only(login, edition_dsn):
    researcher = login("researcher")
    run(edition_dsn, "INSERT INTO public.iceberg_tables VALUES ('ticklake', 'market', 't', 'm')")
    run(researcher, "CREATE TABLE research.idea AS SELECT ticker, price FROM market.crypto_trades")
    run(researcher, "DROP TABLE research.idea")
    run(researcher, "INSERT INTO public.iceberg_tables VALUES ('ticklake', 'research', 'x', 'y')")
    run(researcher, "UPDATE public.iceberg_tables SET metadata_location = 'mine'")
    run(researcher, "DELETE FROM public.iceberg_tables")
    refused(researcher, "INSERT INTO public.iceberg_tables VALUES ('ticklake', 'market', 'x', 'y')")
    for statement in WRITES:
        if "iceberg_tables WHERE" not in statement:  # its own rows it may delete
            refused(researcher, statement)
    left = run(edition_dsn, "SELECT table_name, metadata_location FROM public.iceberg_tables")
    assert left == [("t", "m")]


def test_a_new_table_is_nobodys_to_read_until_it_is_opened_to_analysts(login, edition_dsn):
    run(edition_dsn, "CREATE TABLE market.tomorrows (i int)")
    run(edition_dsn, "SELECT market.grant_roles()")
    refused(login("analyst"), "SELECT * FROM market.tomorrows")
    run(edition_dsn, "INSERT INTO market.open_to_analysts VALUES ('tomorrows')")
    run(edition_dsn, "SELECT market.grant_roles()")
    assert run(login("analyst"), "SELECT * FROM market.tomorrows") == []


def test_a_role_that_makes_a_day_does_not_own_it(login):
    day = datetime(2023, 4, 4, tzinfo=UTC)
    with psycopg.connect(login("ingest"), autocommit=True) as connection:
        ensure_partitions(connection, "crypto_trades", [day.date()])
        if connection.execute(
            "SELECT to_regclass('market.crypto_trades_p20230404')"
        ).fetchone() != (None,):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute("DROP TABLE market.crypto_trades_p20230404")
