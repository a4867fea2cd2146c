"""Servers that others run: what is asked for, and what is said where one is missing."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
import redis

from infra.command.main import run
from infra.servers.addresses import REQUIRED, from_env
from infra.servers.store_users import POLICY_OF, policy_of
from lake.errors import BadInput
from lake.state import write_state

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


@pytest.mark.parametrize("policy", sorted(set(POLICY_OF.values())))
def test_every_policy_is_on_the_lake_s_own_bucket_and_no_other(policy: str) -> None:
    places = [
        place for each in policy_of(policy, "my-lake")["Statement"] for place in each["Resource"]
    ]
    assert places
    for place in places:
        assert place.removeprefix("arn:aws:s3:::").partition("/")[0] == "my-lake", place


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
