"""The stack behind TLS and passwords: who is refused, and that everything of ours still comes in.

It starts a stack of its own, unless the one that the other tests share is open to other machines.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
import redis
import requests
import trino
from pyarrow.fs import FileSelector, S3FileSystem
from trino.exceptions import TrinoQueryError

from flows.pool import POOL
from infra.native import model_users
from infra.native.page_door import USER
from infra.servers.authority import make_ca
from infra.servers.door import door_of
from infra.servers.flow_servers import client_variables
from infra.servers.home import read_passwords
from lake.client import connect
from lake.clock import SystemClock
from lake.errors import TicklakeError, Unavailable
from lake.roles import role_dsn
from lake.state import postgres_dsn, read_state, valkey_url, with_user
from lake.tables.catalog import open_catalog
from lake.tables.names import NAMESPACE
from lake.trino_session import Trino, connect_trino, trino_of
from lake.views.engine import attach_warehouse, open_duckdb
from lake.warehouse import Bucket, warehouse_of
from tests.stack.emptied import emptied
from tests.verify.lakehouse import Lakehouse

ROOT = Path(__file__).resolve().parents[2]
UP_S_MAX = 600
OPEN = ("postgres", "redis", "minio", "trino", "prefect", "mlflow")
PAGES = ("prefect_page", "mlflow_page")
QUESTIONS = (
    ("prefect", "/flows/filter", {"limit": 1}),
    ("mlflow", "/api/2.0/mlflow/experiments/search", {"max_results": 1}),
)
WRONG = "not-the-password"
COUNT = "SELECT count(*) AS n FROM lake.market.crypto_trades"


MODEL = """
import sys
from pathlib import Path
from feature_repo.models.registry import Registry
from feature_repo.models.registry_place import registry_place
from feature_repo.models.trees import TreeRecipe
from flows.features_to_model import Order, train_model
from lake.clock import ManualClock
from tests.models.trading_rows import FEATURES, training_rows

registry = Registry(registry_place(Path(sys.argv[1])))
recipe = TreeRecipe(rounds=5, patience=2)
order = Order("by-tls", "first", FEATURES, "forward", {"market": "1"}, recipe, folds=1)
train_model(training_rows(1_200, strength=2.0), order, registry, ManualClock())
found = registry.versions("by-tls")[-1]
print(registry.load(found)[0].hash == found.model_hash)
"""


def ticklake(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    words = ("-m", "infra.command.main", *words, "--home", str(home))
    return python(*words, more={"TICKLAKE_FLOWS": "off"})


def python(*words: str, more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, **(more or {})},
        capture_output=True,
        text=True,
        timeout=UP_S_MAX,
        check=False,
    )


@pytest.fixture(scope="module")
def home(stack: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the home of a stack that is open to other machines."""
    if door_of(stack).listen == "0.0.0.0":
        yield stack
        return
    home = tmp_path_factory.mktemp("tls").resolve() / "home"
    try:
        done = ticklake(
            home, "up", "--profile", "stack", "--listen", "0.0.0.0", "--tls", "made", "--json"
        )
        assert done.returncode == 0, done.stderr
        yield home
    finally:
        ticklake(home, "down")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the file of a CA that vouched for none of the servers."""
    path = tmp_path_factory.mktemp("stranger") / "ca.crt"
    path.write_bytes(make_ca("a stranger", datetime.now(UTC)).certificate)
    return str(path)


@pytest.fixture(scope="module")
def lakehouse(home: Path) -> Iterator[Lakehouse]:
    """Return the home's lake with rows, written by TLS: hot, catalog and files."""
    house = Lakehouse(*emptied(home))
    house.write()
    house.commit()
    yield house
    house.close()


def login_of(state: dict[str, Any]) -> tuple[str, str]:
    """Return how one comes into Prefect or MLflow."""
    user, _, password = state.get("login", "").partition(":")
    return (user, password) if user else (state["user"], state["password"])


def ca_of(home: Path) -> str:
    return str(door_of(home).ca)


def test_servers_listen_everywhere_and_what_nobody_asks_on_loopback(home: Path) -> None:
    servers = json.loads(ticklake(home, "status", "--json").stdout)["servers"]
    places = {name: each["address"].partition(":")[0] for name, each in servers.items()}
    assert places == {
        **dict.fromkeys(OPEN, "0.0.0.0"),
        "worker": "127.0.0.1",
    }
    assert all(each["running"] for each in servers.values())


def test_what_is_not_tls_gets_no_answer(home: Path) -> None:
    state = read_state(home)
    dsn = postgres_dsn(home).replace("verify-full", "disable")
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(dsn)
    plain = valkey_url(home).partition("?")[0].replace("rediss://", "redis://")
    with (
        redis.Redis.from_url(plain, retry=None, socket_timeout=60) as client,
        pytest.raises(redis.ConnectionError),
    ):
        client.ping()
    asked = {
        "s3": "/lake",
        "trino": "/v1/info",
        "prefect": "/api/health",
        "mlflow": "/health",
    }
    for server, path in asked.items():
        with socket.create_connection(("127.0.0.1", state[server]["port"]), timeout=60) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = client.recv(4096)
        assert not answer.startswith(b"HTTP/1.1 200"), server
        assert b"<Contents" not in answer, server


def test_a_wrong_password_is_refused_by_each(home: Path) -> None:
    state = read_state(home)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(with_user(postgres_dsn(home), "market_analyst", WRONG))
    url = valkey_url(home)
    word = url.partition("rediss://:")[2].partition("@")[0]
    with (
        redis.Redis.from_url(url.replace(word, WRONG), retry=None) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()
    with pytest.raises(OSError, match=r"SIGNATURE|Signature|ACCESS_DENIED"):
        store(state, secret_key=WRONG).get_file_info(FileSelector("lake"))
    for words in ({"password": WRONG}, {"user": "operator"}, {"user": "nobody"}):
        found = {**(trino_of(home, "analyst") or {}), **words}
        with Trino(**found) as session, pytest.raises(Unavailable, match="401"):
            session.execute("SELECT 1")


def test_trino_takes_no_name_without_its_password(home: Path) -> None:
    found = trino_of(home, "analyst") or {}
    with requests.Session() as client:
        client.trust_env, client.verify = False, ca_of(home)
        answer = client.post(
            f"{found['url']}/v1/statement", "SELECT 1", headers={"X-Trino-User": "operator"}
        )
        assert answer.status_code == 401
        posing = trino.dbapi.connect(
            host="127.0.0.1",
            port=read_state(home)["trino"]["port"],
            http_scheme="https",
            user="operator",
            auth=trino.auth.BasicAuthentication("analyst", found["password"]),
            http_session=client,
        )
        with pytest.raises(TrinoQueryError, match="analyst cannot impersonate user operator"):
            posing.cursor().execute("SELECT 1").fetchall()


@pytest.mark.parametrize(("server", "path", "question"), QUESTIONS)
def test_prefect_and_mlflow_answer_nobody_without_the_password(
    server: str, path: str, question: dict[str, int], home: Path, stranger: str
) -> None:
    state = read_state(home)[server]
    user, password = login_of(state)
    with requests.Session() as client:
        client.trust_env, client.verify = False, state["ca"]
        url = f"{state['url']}{path}"
        for login, code in (
            (None, 401),
            ((user, WRONG), 401),
            (("nobody", password), 401),
            ((user, password), 200),
        ):
            answer = client.post(url, json=question, auth=login, timeout=60)
            assert answer.status_code == code, (login is None, answer.text)
        client.verify = stranger
        with pytest.raises(requests.exceptions.SSLError):
            client.post(url, json=question, timeout=60)


def test_a_model_is_kept_and_loaded_and_a_client_of_prefect_sees_the_pool(
    home: Path, tmp_path: Path
) -> None:
    """In processes of their own: MLflow's client learns its way in by the environment."""
    done = python("-c", MODEL, str(home))
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
    words = client_variables(read_state(home)["prefect"]) | {"PREFECT_HOME": str(tmp_path)}
    pool = python("-m", "prefect", "work-pool", "inspect", POOL, more=words)
    assert pool.returncode == 0, pool.stderr
    assert POOL in pool.stdout


def test_the_service_reads_models_with_its_own_password_and_changes_none(home: Path) -> None:
    """As the service in containers makes them; by hand here, since one home's owner is enough."""
    state = read_state(home)["mlflow"]
    dsn = with_user(postgres_dsn(home), "mlflow", read_passwords(home, ("mlflow",))["mlflow"])
    place = dsn.replace("/ticklake?", "/mlflow?")
    owner = {USER: state["password"]}
    model_users.main(place, {**owner, "service": "the word of service"}, SystemClock())
    registry = f"{state['url']}/api/2.0/mlflow/registered-models"
    with requests.Session() as client:
        client.trust_env, client.verify = False, state["ca"]
        client.auth = (USER, state["password"])
        made = client.post(f"{registry}/create", json={"name": "of-the-owner"}, timeout=60)
        assert made.status_code == 200 or "RESOURCE_ALREADY_EXISTS" in made.text, made.text
        client.auth = ("service", "the word of service")
        found = client.get(f"{registry}/get", params={"name": "of-the-owner"}, timeout=60)
        assert found.status_code == 200, found.text
        change = {"name": "of-the-owner", "description": "mine"}
        assert client.patch(f"{registry}/update", json=change, timeout=60).status_code == 403
        client.auth = ("service", WRONG)
        assert client.get(f"{registry}/get", params=found.json(), timeout=60).status_code == 401


def test_a_server_that_a_stranger_vouches_for_is_not_believed(home: Path, stranger: str) -> None:
    state = read_state(home)
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(postgres_dsn(home).replace(quoted(ca_of(home)), quoted(stranger)))
    url = valkey_url(home).replace(quoted(ca_of(home)), quoted(stranger))
    with (
        redis.Redis.from_url(url, retry=None) as client,
        pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.ping()
    with pytest.raises(OSError, match=r"(?i)ssl|certificate|NETWORK_CONNECTION"):
        store(state, tls_ca_file_path=stranger).get_file_info(FileSelector("lake"))
    found = {**(trino_of(home) or {}), "ca": stranger}
    with Trino(**found) as session, pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        session.execute("SELECT 1")


def test_duckdb_believes_no_stranger_either(
    home: Path, stranger: str, lakehouse: Lakehouse
) -> None:
    place = warehouse_of(home)
    assert isinstance(place, Bucket)
    file = lakehouse.table().metadata_location
    query = f"SELECT count(*) FROM iceberg_scan('{file}')"
    with closing(open_duckdb(["avro", "iceberg"])) as engine:
        attach_warehouse(engine, place)
        assert engine.execute(query).fetchone() == (30,)
    with closing(open_duckdb(["avro", "iceberg"])) as engine:
        attach_warehouse(engine, replace(place, ca=stranger))
        with pytest.raises(duckdb.Error, match="SSL peer certificate"):
            engine.execute(query)


def quoted(path: str) -> str:
    return path.replace("/", "%2F")


def store(state: dict[str, Any], **other: str) -> S3FileSystem:
    s3 = state["s3"]
    words = {
        "access_key": s3["access_key"],
        "secret_key": s3["secret_key"],
        "tls_ca_file_path": s3["ca"],
    }
    return S3FileSystem(**{**words, **other}, endpoint_override=s3["endpoint"], region=s3["region"])


def test_everything_of_ours_comes_in(home: Path, lakehouse: Lakehouse) -> None:
    with psycopg.connect(role_dsn(home, "analyst")) as connection:
        row = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert row.fetchone() == (True,)
    with redis.Redis.from_url(valkey_url(home)) as client:
        assert client.ping()
    catalog = open_catalog(role_dsn(home, "verifier"), warehouse_of(home, "verifier"))
    assert len(catalog.load_table((NAMESPACE, "crypto_trades")).scan().to_arrow()) == 30
    catalog.close()
    with connect(home) as here:
        assert here.arrow("SELECT count(*) AS n FROM lake.crypto_trades").to_pylist() == [{"n": 30}]
        assert here.arrow("SELECT count(*) AS n FROM hot.crypto_trades").to_pylist() == [{"n": 30}]
    for role in ("analyst", "researcher", "operator", None):
        with connect_trino(home, role) as there:  # by its own catalogs, to PostgreSQL and S3
            assert there.arrow(COUNT).to_pylist() == [{"n": 30}]
            query = "SELECT count(*) FROM hot.market.feed_gaps"
            assert there.execute(query) == [(0,)]
    done = ticklake(home, "sql", COUNT, "--engine", "trino", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [{"n": 30}])
    with connect_trino(home, "analyst") as session, pytest.raises(TicklakeError):
        session.execute("DELETE FROM lake.market.crypto_trades")


def test_other_machines_come_in_by_the_servers_other_names(home: Path) -> None:
    """By this machine's own address beside loopback, which the certificate names."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        address = probe.getsockname()[0]
    psycopg.connect(postgres_dsn(home).replace("@127.0.0.1:", f"@{address}:")).close()
    trusting = ssl.create_default_context(cafile=ca_of(home))
    for server in ("valkey", "s3", "trino", "prefect", "mlflow"):
        place = address, read_state(home)[server]["port"]
        with (
            socket.create_connection(place, timeout=60) as plain,
            trusting.wrap_socket(plain, server_hostname=address) as client,
        ):
            assert client.version() in ("TLSv1.2", "TLSv1.3"), server


def test_a_second_up_starts_nothing_anew(home: Path) -> None:
    done = ticklake(home, "up", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["started"] == []


def test_a_password_that_was_changed_is_taken_by_prefect_and_mlflow(home: Path) -> None:
    path = home / "run" / "passwords.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | dict.fromkeys(PAGES, "another-word")))
    done = ticklake(home, "up", "--json")
    assert done.returncode == 0, done.stderr
    assert sorted(json.loads(done.stdout)["started"]) == ["mlflow", "prefect", "worker"]
    for server, path_of, question in QUESTIONS:
        state = read_state(home)[server]
        login = login_of(state)
        assert login == ("ticklake", "another-word")
        with requests.Session() as client:
            client.trust_env, client.verify = False, state["ca"]
            url = f"{state['url']}{path_of}"
            assert client.post(url, json=question, auth=login, timeout=60).status_code == 200
