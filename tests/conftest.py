"""What tests share: real servers from the wheels, a database each, the recorded data."""

from __future__ import annotations

import importlib
import itertools
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import hypothesis
import psycopg
import pytest
from psycopg import sql
from redis import Redis

from feature_repo.models.registry import Registry
from feature_repo.models.registry_place import FOLDER, registry_place
from infra.servers.lock import held
from infra.servers.postgres_files import wheel
from infra.servers.postgres_server import PostgresServer, Postmaster, admin_dsn
from infra.servers.valkey_server import ValkeyServer, url
from lake.clock import SystemClock
from lake.errors import Unavailable
from lake.roles import database_role
from lake.state import read_state, with_user
from lake.warehouse import Bucket, Folder, Warehouse, warehouse_of
from serving.streams.connect import connected

os.environ.setdefault("TICKLAKE_FLOWS", "off")
"""What `up` starts for a test is what the test is about."""

hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")
"""How long an example takes says what else the machine does."""

PASSWORD = "only-for-tests"
MADE_S_MAX = 600.0
ROOT = Path(__file__).resolve().parents[1]


NO_SERVER = ("plain", "folder", "process")
"""Parameters of tests that ask nothing of the stack."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to `make test` what differs from a test on the stack's servers by its place alone."""
    if "TICKLAKE_TEST_STACK" not in os.environ:
        return
    left = [item for item in items if needs_no_server(item)]
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=left)


def needs_no_server(item: pytest.Item) -> bool:
    """Return whether a test is one of several by where data lies, and lies on no server here."""
    call = getattr(item, "callspec", None)
    places = [call.params.get(name) for name in ("edition", "warehouse", "place")] if call else []
    asked = [place for place in places if place is not None]
    return bool(asked) and all(place in NO_SERVER for place in asked)


@dataclass
class Databases:
    """Makes databases on one server; a name is never used twice."""

    master: Postmaster
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def dsn(self, name: str) -> str:
        """Return the URI of a database."""
        return f"postgresql://ticklake:{PASSWORD}@127.0.0.1:{self.master.port}/{name}"

    def create(self, template: str = "template1") -> str:
        """Create a database and return its name."""
        name = f"test_{next(self.numbers)}"
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY"), name, template)
        return name

    def drop(self, name: str) -> None:
        """Drop a database, its connections too."""
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)"), name)

    def _execute(self, statement: sql.SQL, *names: str) -> None:
        with psycopg.connect(self.dsn("ticklake"), autocommit=True) as connection:
            connection.execute(statement.format(*map(sql.Identifier, names)))


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Run one PostgreSQL for the session.

    It hands nothing to the disk: dropping a database then takes 20 ms, not a second, and what
    processes wrote that were killed is there all the same.
    """
    home = tmp_path_factory.mktemp("postgres-home").resolve()
    (home / "log").mkdir()
    server = PostgresServer(home, SystemClock(), wheel().also({"fsync": "off"}))
    try:
        yield Databases(server.up(None, PASSWORD))
    finally:
        server.down()


@pytest.fixture(scope="session", autouse=True)
def extensions_unchecked() -> None:
    """Open readers in 10 ms instead of 300: DuckDB hashes its extensions to check who signed them.

    The commands that tests start check them each time.
    """
    engine = importlib.import_module("lake.views.engine")
    engine._CONFIG["allow_unsigned_extensions"] = True


@pytest.fixture(scope="session", autouse=True)
def stack_unsynced() -> None:
    """Keep the stack's PostgreSQL from the disk as that of `databases`: it is for tests only."""
    named = os.environ.get("TICKLAKE_TEST_STACK")
    server = read_state(Path(named)).get("postgres") if named else None
    if server is None:
        return
    master = Postmaster(server["pid"], server["port"], Path(server["socket_dir"]))
    with psycopg.connect(admin_dsn(master), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture
def postgres_dsn(databases: Databases) -> Iterator[str]:
    """Return the URI of an empty database of the test's own."""
    name = databases.create()
    yield databases.dsn(name)
    databases.drop(name)


@pytest.fixture(scope="session")
def migrated_template(databases: Databases) -> str:
    """Migrate one database; the others are copies of it."""
    name = databases.create()
    with psycopg.connect(databases.dsn(name)) as connection:
        importlib.import_module("lake.hot.arrange").prepare(connection)
    return name


@pytest.fixture
def migrated_dsn(databases: Databases, migrated_template: str) -> Iterator[str]:
    """Return the URI of a migrated database of the test's own."""
    name = databases.create(migrated_template)
    yield databases.dsn(name)
    databases.drop(name)


@pytest.fixture
def service_dsn(migrated_dsn: str) -> str:
    """Return the address of that database by which the live half connects."""
    role = database_role("service")
    with psycopg.connect(migrated_dsn, autocommit=True) as owner:
        owner.execute(f"ALTER ROLE {role} LOGIN PASSWORD '{PASSWORD}'".encode())
    return with_user(migrated_dsn, role, PASSWORD)


@pytest.fixture(params=("plain", "apache", "community"))
def edition(request: pytest.FixtureRequest) -> str:
    """Return the name of an edition of the hot tier's server; a test that asks runs on each."""
    return str(request.param)


@pytest.fixture
def edition_dsn(edition: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URI of a migrated database of the test's own, on a server of the edition."""
    if edition == "plain":
        yield request.getfixturevalue("migrated_dsn")
        return
    with importlib.import_module("tests.editions").server_database(edition) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a Valkey of the session's own; tests use keys of their own.

    It hands nothing to the disk: an answer would wait for that as long as the machine likes.
    """
    home = tmp_path_factory.mktemp("valkey-home").resolve()
    (home / "log").mkdir()
    server = ValkeyServer(home, SystemClock())
    try:
        address = url(server.up(None, PASSWORD), PASSWORD)
        with Redis.from_url(address) as client:
            client.config_set("appendonly", "no")
        yield address
    finally:
        server.down()


@pytest.fixture
def client(valkey_url: str) -> Iterator[Redis]:
    """Return a client of that Valkey, as patient as ours are."""
    client = connected(valkey_url)
    yield client
    client.close()


@pytest.fixture(params=("folder", "bucket"))
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    """Return an empty warehouse of the test's own: a folder, and a place in the stack's bucket."""
    if request.param == "folder":
        yield Folder(tmp_path / "a warehouse")
        return
    home = os.environ.get("TICKLAKE_TEST_STACK")
    if not home:
        pytest.skip("no S3 store: TICKLAKE_TEST_STACK names no home whose stack is up")
    whole = warehouse_of(Path(home))
    assert isinstance(whole, Bucket)
    own = replace(whole, location=f"{whole.location}/market/test-{uuid.uuid4().hex}")
    yield own
    module = importlib.import_module("lake.tables.warehouse_io")
    store = module.WarehouseIO(own.iceberg_properties()).fs_by_scheme("s3", own.name)
    store.delete_dir_contents(own.location.removeprefix("s3://"), missing_dir_ok=True)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of recorded data, or skip the test with the reason."""
    path = Path(os.environ.get("TICKLAKE_DATA") or ROOT.parent / "shared" / "data")
    if not path.is_dir():
        pytest.skip(f"no recorded data in {path}; set TICKLAKE_DATA")
    return path


@pytest.fixture(scope="session")
def give_registry(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Return what gives a home an empty registry of models: a copy of one for all workers.

    MLflow's SQLite takes 4 s and more to make.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    first = folder / "registry"
    refused = Unavailable("registry", "another worker makes it", "wait for it")
    with held(folder / "registry.lock", SystemClock(), MADE_S_MAX, refused):
        if not first.exists():
            making = folder / "registry.new"
            making.mkdir()
            Registry(registry_place(making))
            making.rename(first)

    def give(home: Path) -> None:
        shutil.copytree(first / FOLDER, home / FOLDER)

    return give
