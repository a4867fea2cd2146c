"""Servers that others run: what is asked for, and what is said where one is missing."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psycopg
import pytest
import redis

from infra.command.main import run
from infra.recovery.places import wanted
from infra.servers import embedded
from infra.servers.addresses import REQUIRED, from_env
from infra.servers.buckets import Buckets
from infra.servers.flow_servers import client_variables
from infra.servers.given import Given, see_to_roles
from infra.servers.store_users import MLFLOW, POLICY_OF, is_minio, policy_of
from infra.servers.versions import require
from infra.watch.probes import probe_all
from lake.clock import SystemClock
from lake.errors import BadInput, Unavailable, WrongUse
from lake.hot.recovery import OTHERS, window_s
from lake.hot.standing import standing
from lake.roles import ROLES, role_dsn
from lake.settings import Settings
from lake.state import write_state
from lake.warehouse import Bucket, warehouse_of
from tests.conftest import PASSWORD

GIVEN = dict.fromkeys(REQUIRED, "here")


@pytest.mark.parametrize("missing", REQUIRED)
def test_an_address_that_is_missing_is_named(missing: str) -> None:
    with pytest.raises(BadInput, match=f"^{missing}: is not set: "):
        from_env({**GIVEN, missing: ""})


def test_passwords_of_any_characters_make_addresses_that_clients_read() -> None:
    password = "p@ss:/w?rd#%&'"
    state = from_env({**GIVEN, "POSTGRES_PASSWORD": password, "REDIS_PASSWORD": password})
    assert psycopg.conninfo.conninfo_to_dict(state["postgres"]["dsn"])["password"] == password
    client = redis.Redis.from_url(state["valkey"]["url"])
    assert client.connection_pool.connection_kwargs["password"] == password
    client.close()


def test_servers_that_need_not_be_there_are_left_out_where_they_are_not() -> None:
    assert from_env(GIVEN).keys() == {"postgres", "valkey", "s3", "warehouse"}
    state = from_env({**GIVEN, "TRINO_URL": "http://trino:8080"})
    assert state["trino"] == {"url": "http://trino:8080", "user": "ticklake"}


@pytest.mark.parametrize(
    ("server", "said", "least"),
    [
        *(("Trino", "469", "470"), ("Trino", "470", ""), ("Trino", "476-e.1", "")),
        *(("Redis", "6.2.14", "7.0"), ("Redis", "7.0.0", ""), ("Redis", "10.1", "")),
    ],
)
def test_a_server_of_too_old_a_version_is_named(server: str, said: str, least: str) -> None:
    if not least:
        require(server, said)
        return
    fault = re.escape(f"{server} {said}: older than {least}: use a newer server")
    with pytest.raises(BadInput, match=f"^{fault}$"):
        require(server, said)


def test_a_given_server_that_does_not_answer_is_wrong_and_none_is_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "given").mkdir()
    write_state(tmp_path, {"trino": {"url": "http://127.0.0.1:9"}})
    assert run(["status", "--home", str(tmp_path), "--json"]) == 1
    (wrong,) = json.loads(capsys.readouterr().out)["wrong"]
    assert (wrong["kind"], wrong["thing"]) == ("server", "trino")
    assert "refused" in wrong["fault"]
    assert run(["down", "--home", str(tmp_path)]) == 0
    assert "nothing was running" in capsys.readouterr().out


@contextmanager
def store(
    status: int, before: Callable[[], object] = lambda: None, body: bytes = b""
) -> Iterator[str]:
    """Yield the address of a store that answers every question with this status."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            before()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_role_has_the_keys_that_it_is_given_both_or_none() -> None:
    words = {**GIVEN, "ANALYST_PASSWORD": "word"}
    assert "s3" not in from_env(words)["roles"]["analyst"]
    keys = {"ANALYST_S3_ACCESS_KEY": "AKIA7", "ANALYST_S3_SECRET_KEY": "secret"}
    found = from_env({**words, **keys})["roles"]["analyst"]["s3"]
    assert found == {"access_key": "AKIA7", "secret_key": "secret"}
    for name in keys:
        with pytest.raises(BadInput, match=f"^{name}: is not set: "):
            from_env({**words, **keys, name: ""})


def test_where_keys_can_t_be_made_a_role_without_its_own_uses_the_owner_s(
    tmp_path: Path, migrated_dsn: str
) -> None:
    with store(403) as address:  # as Amazon's answers whom it doesn't know
        words = {"S3_ENDPOINT": address, "S3_ACCESS_KEY": "AKIA1", "S3_SECRET_KEY": "secret"}
        roles = {"ANALYST_PASSWORD": "word", "SERVICE_PASSWORD": "word"}
        keys = {"SERVICE_S3_ACCESS_KEY": "AKIA2", "SERVICE_S3_SECRET_KEY": "its"}
        state = from_env({**GIVEN, **words, **roles, **keys})
        state["postgres"]["dsn"] = migrated_dsn
        see_to_roles(state)
    write_state(tmp_path, state)
    for role, key in (("analyst", "AKIA1"), ("service", "AKIA2"), ("operator", "AKIA1")):
        found = warehouse_of(tmp_path, role)
        assert isinstance(found, Bucket)
        assert found.access_key == key, role


def test_a_store_that_does_not_answer_in_time_is_not_taken_for_another_kind() -> None:
    for status, found in ((200, True), (403, False), (404, False)):
        with store(status) as address:
            assert is_minio(address) is found
    with store(503) as address, pytest.raises(Unavailable, match="answers 503"):
        is_minio(address)
    with pytest.raises(Unavailable, match="refused"):
        is_minio(address)
    over = threading.Event()
    with store(200, lambda: over.wait(5)) as address:
        with pytest.raises(Unavailable, match="no answer in"):
            is_minio(address, answer_s_max=0.1)
        over.set()


def test_a_home_of_one_role_knows_nobody_else_s_password() -> None:
    words = {**GIVEN, "POSTGRES_PASSWORD": "", "S3_ACCESS_KEY": "", "S3_SECRET_KEY": ""}
    passwords = {f"{name.upper()}_PASSWORD": f"of {name}" for name in ROLES}
    more = {"TRINO_URL": "http://trino:8080", "TRINO_PASSWORD": "owner", "MLFLOW_PASSWORD": "m"}
    state = from_env({**words, **passwords, **more}, "service")
    found = psycopg.conninfo.conninfo_to_dict(state["postgres"]["dsn"])
    assert (found["user"], found["password"]) == ("market_service", "of service")
    assert (state["s3"]["access_key"], state["s3"]["secret_key"]) == ("service", "of service")
    assert state["trino"] == {"url": "http://trino:8080", "user": "service"}
    others = [each for name, each in passwords.items() if name != "SERVICE_PASSWORD"]
    assert [each for each in (*others, "owner") if each in json.dumps(state)] == []
    keys = {"SERVICE_S3_ACCESS_KEY": "AKIA2", "SERVICE_S3_SECRET_KEY": "its"}
    assert from_env({**words, **passwords, **keys}, "service")["s3"]["access_key"] == "AKIA2"
    with pytest.raises(BadInput, match="SERVICE_PASSWORD: is not set"):
        from_env(words, "service")
    with pytest.raises(BadInput, match="role nobody: there is none"):
        from_env(words, "nobody")


def test_a_home_of_one_role_finds_servers_that_were_prepared(
    tmp_path: Path, service_dsn: str, valkey_url: str
) -> None:
    with store(200) as s3:
        state = from_env({**GIVEN, "S3_ENDPOINT": s3, "SERVICE_PASSWORD": PASSWORD}, "service")
        state["postgres"]["dsn"], state["valkey"]["url"] = service_dsn, valkey_url
        write_state(tmp_path, {"roles": {"operator": {"dsn": "of before"}}})
        Given(lambda: state, prepares=False).up(tmp_path)
    for role in ("service", "analyst", "operator"):
        assert role_dsn(tmp_path, role) == service_dsn
        found = warehouse_of(tmp_path, role)
        assert isinstance(found, Bucket)
        assert found.access_key == "service"


def test_a_role_alone_is_for_servers_that_others_prepare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["up", "--role", "service", "--home", str(tmp_path / "home")]) == 2
    assert "servers that others run" in capsys.readouterr().err


def given_servers(postgres: str, valkey: str, s3: str) -> Given:
    state = from_env({**GIVEN, "S3_ENDPOINT": s3})
    state["postgres"]["dsn"], state["valkey"]["url"] = postgres, valkey
    return Given(lambda: state)


def test_where_others_back_the_server_up_the_window_is_kept_without_a_backup_of_ours(
    tmp_path: Path, valkey_url: str
) -> None:
    theirs, ours = tmp_path.resolve() / "theirs", tmp_path / "ours"
    settings = Settings(home=theirs, backup=str(tmp_path / "archive"))
    others = wanted(Settings(home=ours, backup=OTHERS, recovery_hours=48), given=True)
    try:
        dsn = embedded.up(theirs, backup=wanted(settings)).state["postgres"]["dsn"]
        with store(200) as s3:
            given = given_servers(dsn, valkey_url, s3)
            for backup in (others, None):  # that it is not said again leaves it
                given.up(ours, backup=backup)
                with psycopg.connect(dsn) as connection:
                    assert window_s(connection) == 48 * 3_600
                    kept = connection.execute("SELECT market.kept_for_recovery(0::smallint, 1)")
                    assert kept.fetchone() == (None,)
                assert standing(dsn).backup is None  # whose age nobody tells us
            given.up(ours, backup={})
            with psycopg.connect(dsn) as connection:
                assert window_s(connection) == 0
    finally:
        embedded.down(theirs)


def test_a_window_on_a_server_that_archives_nothing_is_refused(
    tmp_path: Path, migrated_dsn: str, valkey_url: str
) -> None:
    with store(200) as s3:
        given = given_servers(migrated_dsn, valkey_url, s3)
        others = wanted(Settings(home=tmp_path, backup=OTHERS), given=True)
        with pytest.raises(BadInput, match="archives no log: set up its backups first"):
            given.up(tmp_path, backup=others)
        with pytest.raises(WrongUse, match="have them backed up and say 'others'"):
            given.up(tmp_path, backup=wanted(Settings(home=tmp_path, backup="/b"), given=True))
    with pytest.raises(BadInput, match="is for servers that others run"):
        wanted(Settings(home=tmp_path, backup=OTHERS))


def test_a_trino_that_answers_while_it_starts_is_not_up() -> None:
    for starting in (b"true", b"false"):
        with store(200, body=b'{"nodeVersion":{},"starting":' + starting + b"}") as url:
            (health,) = probe_all({"trino": {"url": url}}, SystemClock()).values()
        assert health.up is (starting == b"false")
    with store(200, body=b'{"starting":true}') as url:
        health = probe_all({"trino": {"url": url}}, SystemClock())["trino"]
    assert "is starting" in health.fault
    assert health.remedy.startswith("wait for it")


@pytest.mark.parametrize("user", POLICY_OF)
def test_every_policy_is_on_its_user_s_own_bucket_and_no_other(user: str) -> None:
    policy = policy_of(POLICY_OF[user], Buckets("my-lake", "my-models"))
    places = [place for each in policy["Statement"] for place in each["Resource"]]
    assert places
    for place in places:
        bucket = place.removeprefix("arn:aws:s3:::").partition("/")[0]
        assert bucket == ("my-models" if user == MLFLOW else "my-lake"), place


def test_mlflow_s_user_is_made_unless_it_has_keys_of_its_own() -> None:
    words = {**GIVEN, "MLFLOW_PASSWORD": "its-word"}
    assert from_env(words)["models"] == {"secret_key": "its-word"}
    assert "models" not in from_env({**words, "MLFLOW_S3_ACCESS_KEY": "AKIA9"})
    assert "models" not in from_env(GIVEN)


def test_with_a_ca_every_server_must_prove_that_it_is_the_one_meant() -> None:
    state = from_env(
        {
            **GIVEN,
            "S3_ENDPOINT": "https://minio:9000",
            "TRINO_URL": "https://trino:8443",
            "TRINO_PASSWORD": "owner",
            "ANALYST_PASSWORD": "word",
            "TLS_CA": "/etc/a ca.crt",
        }
    )
    for dsn in (state["postgres"]["dsn"], state["roles"]["analyst"]["dsn"]):
        found = psycopg.conninfo.conninfo_to_dict(dsn)
        assert (found["sslmode"], found["sslrootcert"]) == ("verify-full", "/etc/a ca.crt")
    client = redis.Redis.from_url(state["valkey"]["url"])
    assert client.connection_pool.connection_class is redis.SSLConnection
    assert client.connection_pool.connection_kwargs["ssl_ca_certs"] == "/etc/a ca.crt"
    client.close()
    assert state["s3"]["ca"] == state["trino"]["ca"] == "/etc/a ca.crt"
    assert state["trino"]["password"] == "owner"
    assert state["roles"]["analyst"]["trino"] == {"user": "analyst", "password": "word"}


def test_prefect_and_mlflow_are_entered_as_their_own_clients_are_told() -> None:
    urls = {"PREFECT_API_URL": "https://flows/api", "MLFLOW_TRACKING_URI": "https://models"}
    plain = from_env({**GIVEN, **urls, "TLS_CA": "/ca.crt"})
    assert plain["prefect"] == {"url": "https://flows/api"}
    assert plain["mlflow"] == {"url": "https://models"}
    words = {
        "PREFECT_API_AUTH_STRING": "a word without a colon",
        "PREFECT_API_SSL_CERT_FILE": "/flows.crt",
        "MLFLOW_TRACKING_USERNAME": "research",
        "MLFLOW_TRACKING_PASSWORD": "c",
        "MLFLOW_TRACKING_SERVER_CERT_PATH": "/models.crt",
    }
    state = from_env({**GIVEN, **urls, **words})
    assert client_variables(state["prefect"]) == {
        "PREFECT_API_URL": "https://flows/api",
        **{name: words[name] for name in words if name.startswith("PREFECT")},
    }
    assert state["mlflow"] == {
        "url": "https://models",
        "ca": "/models.crt",
        "user": "research",
        "password": "c",
    }


def test_trino_alone_may_be_behind_tls() -> None:
    words = {**GIVEN, "TRINO_URL": "https://trino:8443", "ANALYST_PASSWORD": "word"}
    state = from_env({**words, "TRINO_CA": "/ca.crt", "TRINO_PASSWORD": "owner"})
    assert state["trino"] == {
        "url": "https://trino:8443",
        "user": "ticklake",
        "password": "owner",
        "ca": "/ca.crt",
    }
    assert state["roles"]["analyst"]["trino"] == {"user": "analyst", "password": "word"}
    assert "ca" not in state["s3"]
    assert "sslmode" not in state["postgres"]["dsn"] + state["roles"]["analyst"]["dsn"]
    assert state["valkey"]["url"].startswith("redis://")


def test_redis_alone_may_be_behind_tls() -> None:
    words = {**GIVEN, "REDIS_CA": "/redis.crt", "S3_ENDPOINT": "https://minio:9000"}
    state = from_env(words)
    assert state["valkey"]["url"].startswith("rediss://")
    assert state["valkey"]["url"].endswith("?ssl_ca_certs=%2Fredis.crt")
    assert "ca" not in state["s3"]
    assert "sslmode" not in state["postgres"]["dsn"]
    both = from_env({**words, "TLS_CA": "/all.crt"})
    assert both["valkey"] == state["valkey"]
    assert both["s3"]["ca"] == "/all.crt"


def test_the_service_comes_into_mlflow_as_itself_where_no_login_is_said() -> None:
    models = {"MLFLOW_TRACKING_URI": "https://models"}
    ca = {"MLFLOW_TRACKING_SERVER_CERT_PATH": "/models.crt"}
    words = {**GIVEN, **models, "SERVICE_PASSWORD": "word", "OPERATOR_PASSWORD": "other"}
    assert from_env(words, "service")["mlflow"] == {"url": "https://models"}
    told = {"url": "https://models", "ca": "/models.crt"}
    own = {"user": "service", "password": "word"}
    assert from_env({**words, **ca}, "service")["mlflow"] == {**told, **own}
    name = {"MLFLOW_TRACKING_USERNAME": "me"}
    found = from_env({**words, **ca, **name}, "service")["mlflow"]
    assert found == {**told, "user": "me"}  # whose password is another's business
    given = {**name, "MLFLOW_TRACKING_PASSWORD": "mine"}
    found = from_env({**words, **ca, **given}, "service")["mlflow"]
    assert found == {**told, "user": "me", "password": "mine"}
    assert from_env({**words, **ca}, "operator")["mlflow"] == told
