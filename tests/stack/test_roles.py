"""What each role must be able to do on the real servers, and what it must not, by any way in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
import trino
from psycopg import errors
from pyarrow.fs import FileSystem, S3FileSystem, SubTreeFileSystem
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError
from trino.exceptions import TrinoQueryError, TrinoUserError

from infra.servers.home import read_passwords
from infra.servers.store_users import MLFLOW, key_name
from infra.watch.probes import probe_all
from infra.watch.status import see
from lake.client import connect
from lake.clock import SystemClock
from lake.roles import ROLES, role_dsn
from lake.settings import Settings
from lake.state import read_state
from lake.tables.catalog import open_catalog
from lake.tables.names import NAMESPACE
from lake.warehouse import warehouse_of

READERS = ("analyst", "researcher", "service")
TABLE = "market.test_roles"
HOT = "market.crypto_trades"
FILE = "warehouse/market/test_roles/{}/ticklake-test-roles"


@pytest.fixture(scope="module", autouse=True)
def table(stack: Path) -> Iterator[None]:
    """Make a table of the market, of this module alone, with snapshots and small files."""
    catalog = open_catalog(role_dsn(stack, "operator"), warehouse_of(stack, "operator"))
    name = tuple(TABLE.split("."))
    try:
        with suppress(NamespaceAlreadyExistsError):
            catalog.create_namespace("market")
        with suppress(NoSuchTableError):
            catalog.drop_table(name)
        rows = pa.table({"ticker": ["X:BTCUSD", "X:ETHUSD"]})
        made = catalog.create_table(name, rows.schema)
        for _ in range(3):
            made.append(rows)
        yield
        catalog.drop_table(name)
    finally:
        catalog.close()


@pytest.fixture
def clean(stack: Path) -> Iterator[FileSystem]:
    """Return the operator's hands on the store; what a test left there is removed."""
    files = store(stack, "operator")
    yield files
    for folder in ("data", "metadata"):
        if files.get_file_info(FILE.format(folder)).is_file:
            files.delete_file(FILE.format(folder))


def store(home: Path, role: str, bucket: str = "bucket") -> FileSystem:
    """Return a bucket of the S3 store as a role sees it."""
    return seen_with(home, read_state(home)["roles"][role]["s3"], bucket)


def seen_with(home: Path, keys: Mapping[str, str], bucket: str) -> FileSystem:
    """Return a bucket, by what the state calls it, as these keys see it."""
    s3 = read_state(home)["s3"]
    files = S3FileSystem(**keys, endpoint_override=s3["endpoint"], region=s3["region"])
    return SubTreeFileSystem(s3[bucket], files)


def put(files: FileSystem, path: str) -> None:
    with files.open_output_stream(path) as output:
        output.write(b"x")


def ask(home: Path, user: str, statement: str, **session: str) -> list[list[object]]:
    """Run a statement in Trino as a user."""
    place = read_state(home)["trino"]
    connection = trino.dbapi.connect(
        host="127.0.0.1",
        port=place["port"],
        user=user,
        catalog="lake",
        schema="market",
        session_properties=session,
    )
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
        return [list(row) for row in cursor.fetchall()]
    finally:
        connection.close()


def snapshot_ids(home: Path) -> list[int]:
    """Return the table's snapshots."""
    catalog = open_catalog(role_dsn(home, "verifier"), warehouse_of(home, "verifier"))
    try:
        table = catalog.load_table((NAMESPACE, "test_roles"))
        return [each.snapshot_id for each in table.metadata.snapshots]
    finally:
        catalog.close()


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_login_and_a_key_of_its_own(stack, role):
    with psycopg.connect(role_dsn(stack, role)) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (f"market_{role}",)
    files = store(stack, role)
    listed = files.get_file_info("warehouse/market/test_roles/metadata")
    assert listed.type.name in ("Directory", "NotFound")


@pytest.mark.parametrize("role", ["ingest", "verifier", *READERS])
def test_keys_of_readers_write_and_delete_nothing_of_the_market(stack, role, clean):
    put(clean, FILE.format("data"))
    files = store(stack, role)
    assert files.open_input_file(FILE.format("data")).read() == b"x"
    for act in (put, FileSystem.delete_file):
        with pytest.raises(OSError, match=r"ACCESS_DENIED|403|Access Denied"):
            act(files, FILE.format("data"))
    for others in (store(stack, role, "models_bucket"), files):
        with pytest.raises(OSError, match=r"ACCESS_DENIED|403|Access Denied"):
            put(others, "views/ticklake-test-roles")


def test_mlflow_s_key_keeps_models_and_opens_no_file_of_the_lake(stack, clean):
    secret = read_passwords(stack, [key_name(MLFLOW)])[key_name(MLFLOW)]
    keys = {"access_key": MLFLOW, "secret_key": secret}
    models = seen_with(stack, keys, "models_bucket")
    put(models, "ticklake-test-roles")
    models.delete_file("ticklake-test-roles")
    put(clean, FILE.format("data"))
    lake = seen_with(stack, keys, "bucket")
    for act in (FileSystem.open_input_file, put, FileSystem.delete_file):
        with pytest.raises(OSError, match=r"ACCESS_DENIED|403|Access Denied|no such|not exist"):
            act(lake, FILE.format("data"))


def test_the_lake_writer_s_key_deletes_no_data(stack, clean):
    files = store(stack, "lake_writer")
    for folder in ("data", "metadata"):
        put(files, FILE.format(folder))
    files.delete_file(FILE.format("metadata"))
    with pytest.raises(OSError, match=r"ACCESS_DENIED|403|Access Denied"):
        files.delete_file(FILE.format("data"))
    with pytest.raises(OSError, match=r"ACCESS_DENIED|403|Access Denied"):
        put(files, "warehouse/research/ticklake-test-roles")


@pytest.mark.parametrize("user", READERS)
def test_readers_read_lake_and_tail_in_trino(stack, user):
    assert ask(stack, user, f"SELECT count(*) > 0 FROM lake.{TABLE}") == [[True]]
    ask(stack, user, f"SELECT count(*) FROM hot.{HOT}_tail WHERE snapshot_id = 0")
    ask(stack, user, 'SELECT value FROM lake.market."test_roles$properties" LIMIT 1')
    catalogs = {str(name) for (name,) in ask(stack, user, "SHOW CATALOGS")}
    assert {"lake", "hot"} <= catalogs
    assert catalogs.isdisjoint({"lake_upkeep", "views_upkeep"})


@pytest.mark.parametrize("user", READERS)
@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT INTO lake.{TABLE} SELECT * FROM lake.{TABLE} LIMIT 1",
        f"DELETE FROM lake.{TABLE}",
        f"UPDATE lake.{TABLE} SET ticker = 'x'",
        f"DROP TABLE lake.{TABLE}",
        f"ALTER TABLE lake.{TABLE} ADD COLUMN mine bigint",
        f"CREATE TABLE lake.market.mine AS SELECT * FROM lake.{TABLE}",
        "CREATE VIEW ticklake.market.mine AS SELECT 1 AS one",
        f"CREATE OR REPLACE VIEW ticklake.{TABLE} AS SELECT 1 AS one",
        "CALL lake.system.rollback_to_snapshot('market', 'test_roles', 1)",
        "CALL lake.system.unregister_table('market', 'test_roles')",
        f"ALTER TABLE lake_upkeep.{TABLE} EXECUTE optimize",
        f"DELETE FROM hot.{HOT}",
        f"SELECT * FROM TABLE(hot.system.query(query => 'DELETE FROM {HOT}'))",
    ],
)
def test_readers_change_nothing_in_trino(stack, user, statement):
    with pytest.raises(TrinoUserError, match=r"Access Denied|[Pp]ermission denied|does not exist"):
        ask(stack, user, statement)


@pytest.mark.parametrize("user", ["analyst", "operator"])
def test_maintenance_fails_in_the_catalog_of_readers_whoever_asks(stack, user):
    before = snapshot_ids(stack)
    retention = {
        "lake.expire_snapshots_min_retention": "0s",
        "lake.remove_orphan_files_min_retention": "0s",
    }
    for work in (
        "optimize",
        "expire_snapshots(retention_threshold => '0s')",
        "remove_orphan_files(retention_threshold => '0s')",
    ):
        with suppress(TrinoQueryError):
            ask(stack, user, f"ALTER TABLE lake.{TABLE} EXECUTE {work}", **retention)
        assert snapshot_ids(stack) == before
    assert ask(stack, user, f"SELECT count(*) > 1 FROM lake.{TABLE}") == [[True]]


@pytest.mark.parametrize("user", ["analyst", "operator"])
def test_views_change_in_no_catalog_of_readers_whoever_asks(stack, user):
    """Trino's rules let an operator; the login and the key of that catalog do not."""
    asked = "SELECT count(*) >= 0 FROM ticklake.market.crypto_trades"
    for statement in (
        "CREATE OR REPLACE VIEW ticklake.market.crypto_trades AS SELECT 1 AS one",
        "DROP VIEW ticklake.market.crypto_trades",
        "CREATE SCHEMA ticklake.mine",
    ):
        with pytest.raises(TrinoQueryError):
            ask(stack, user, statement)
        assert ask(stack, user, asked) == [[True]]


def test_the_operator_maintains_in_a_catalog_of_its_own(stack):
    before = snapshot_ids(stack)
    ask(stack, "operator", f"ALTER TABLE lake_upkeep.{TABLE} EXECUTE optimize")
    assert len(snapshot_ids(stack)) == len(before) + 1
    assert ask(stack, "operator", f"SELECT count(*) > 1 FROM lake_upkeep.{TABLE}") == [[True]]


def test_a_researcher_has_a_schema_of_its_own_and_no_other(stack):
    idea = "research.research.ticklake_test_roles"
    ask(stack, "researcher", f"DROP TABLE IF EXISTS {idea}")
    ask(stack, "researcher", f"CREATE TABLE {idea} AS SELECT ticker FROM lake.{TABLE}")
    assert ask(stack, "researcher", f"SELECT count(*) > 0 FROM {idea}") == [[True]]
    ask(stack, "researcher", f"DELETE FROM {idea}")
    ask(stack, "researcher", f"DROP TABLE {idea}")
    for statement in (
        "CREATE TABLE research.market.mine AS SELECT 1 AS one",
        f"ALTER TABLE research.{TABLE} EXECUTE optimize",
        f"DELETE FROM research.{TABLE}",
    ):
        with pytest.raises(TrinoUserError, match=r"Access Denied|does not exist"):
            ask(stack, "researcher", statement)


@pytest.mark.parametrize("user", READERS)
def test_the_loss_ledger_is_closed_to_readers_by_every_way(stack, user, clean):
    for table in ("hot.market.ledger_minutes", "hot.market.ledger_minutes_tail"):
        with pytest.raises(TrinoQueryError, match=r"[Dd]enied|does not exist"):
            ask(stack, user, f"SELECT count(*) FROM {table}")
        with (
            pytest.raises(errors.InsufficientPrivilege),
            psycopg.connect(role_dsn(stack, user)) as connection,
        ):
            connection.execute(f"SELECT count(*) FROM {table.removeprefix('hot.')}".encode())
    path = "warehouse/market/ledger_minutes/data/ticklake-test-roles"
    put(clean, path)
    with pytest.raises(OSError, match=r"ACCESS_DENIED|403|Access Denied"):
        store(stack, user).open_input_file(path).read()
    clean.delete_file(path)


@pytest.mark.parametrize("user", READERS)
def test_readers_ask_the_union_view_with_their_own_login_and_key(stack, user):
    with connect(stack, role=user) as client:
        for dataset in ("crypto_trades", "feed_gaps", "ingest_batches"):
            client.arrow(f"SELECT count(*) FROM {dataset}")


def test_strangers_see_nothing(stack):
    with pytest.raises(TrinoUserError):
        ask(stack, "stranger", f"SELECT count(*) FROM lake.{TABLE}")
    dsn = role_dsn(stack, "analyst")
    with (
        psycopg.connect(dsn) as connection,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT * FROM market.leases")


def test_who_watches_comes_as_the_service_and_sees_all(stack):
    seen = see(Settings(home=stack), SystemClock())
    assert all(each.up for each in seen.servers.values())
    assert seen.standing is not None
    assert seen.hot is not None
    state = read_state(stack)
    state["postgres"]["dsn"] = state["s3"]["secret_key"] = "the owner's, which nobody asks for"
    assert all(each.up for each in probe_all(state, SystemClock()).values())


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"secret_key": "hunter2-hunter2"}, "refuses our keys"),
        ({"bucket": "never-made"}, "has no bucket never-made"),
    ],
)
def test_a_store_that_knows_neither_key_nor_bucket_is_not_up(stack, wrong, fault):
    s3 = {"s3": read_state(stack)["s3"] | wrong}
    assert probe_all(s3, SystemClock())["s3"].fault.startswith(fault)
