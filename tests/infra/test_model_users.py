"""Who may come into MLflow, in its own tables: on a real PostgreSQL with the table of its users.

That MLflow takes them is asked of its server in tests/stack/test_tls.py."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from werkzeug.security import check_password_hash
from werkzeug.security import generate_password_hash as usual_hash

from infra.native.model_users import (
    from_env,
    hash_of_chosen,
    hash_of_random,
    main,
    see_to_users,
)
from lake.clock import ManualClock
from lake.errors import BadInput, Unavailable
from lake.state import with_user
from tests.conftest import Databases
from tests.infra.manifests import containers, pods

WORDS = {
    "MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg2://mlflow:a%40b@host:5432/mlflow",
    "MLFLOW_AUTH_ADMIN_PASSWORD": "the owner's",
    "SERVICE_PASSWORD": "the service's",
}
TABLE = """CREATE TABLE public.users (id SERIAL PRIMARY KEY, username VARCHAR(255) UNIQUE,
password_hash VARCHAR(255), is_admin BOOLEAN)"""


@pytest.fixture
def dsn(databases: Databases) -> str:
    return databases.dsn(databases.create())


def held(database: psycopg.Connection) -> dict[str, tuple[str, bool]]:
    rows = database.execute("SELECT username, password_hash, is_admin FROM users").fetchall()
    return {name: (word, admin) for name, word, admin in rows}


@pytest.mark.parametrize("hashed", [hash_of_random, hash_of_chosen])
def test_mlflow_reads_the_hash_of_a_password(hashed: Callable[[str], str]) -> None:
    assert check_password_hash(hashed("right"), "right")
    assert not check_password_hash(hashed("right"), "wrong")
    assert hashed("right") != hashed("right")  # by its salt


def test_what_people_chose_is_hashed_as_mlflow_does() -> None:
    ours, theirs = (word.partition("$")[0] for word in (hash_of_chosen("a"), usual_hash("a")))
    assert ours == theirs


def test_before_its_tables_nothing_is_written_then_everyone_has_his_own(dsn: str) -> None:
    _, passwords = from_env(WORDS)
    with psycopg.connect(dsn, autocommit=True) as database:
        assert not see_to_users(database, {})
        database.execute(TABLE)
        rows = "(1, 'ticklake', 'of its first start', true), (2, 'service', 'somebody', true)"
        database.execute(f"INSERT INTO users VALUES {rows}")
        database.execute("SELECT setval('users_id_seq', 2)")
        main(dsn, passwords, ManualClock())
        found = held(database)
        assert {name: admin for name, (_, admin) in found.items()} == {
            "ticklake": True,
            "service": False,
        }
        for name, (word, _) in found.items():
            assert check_password_hash(word, passwords[name]), name
        assert see_to_users(database, {"service": hash_of_random("another")})
        assert check_password_hash(held(database)["service"][0], "another")
        assert held(database)["ticklake"] == found["ticklake"]


def test_what_is_in_the_way_is_said(dsn: str) -> None:
    with pytest.raises(Unavailable, match="MLflow: has made no users yet"):
        main(dsn, {"ticklake": "word"}, ManualClock())
    with pytest.raises(
        Unavailable, match=r"MLflow: its database: .*password authentication failed"
    ):
        main(with_user(dsn, "nobody", "x"), {"ticklake": "word"}, ManualClock())


@pytest.mark.parametrize("missing", WORDS)
def test_what_is_missing_is_named(missing: str) -> None:
    with pytest.raises(BadInput, match=f"{missing}: is not set"):
        from_env({**WORDS, missing: ""})


def test_the_address_is_libpq_s_and_kubernetes_gives_all_that_is_asked() -> None:
    assert from_env(WORDS)[0] == "postgresql://mlflow:a%40b@host:5432/mlflow"
    (pod,) = containers(pods()["Job/mlflow-users"])
    from_env({each["name"]: "postgresql+psycopg2://x" for each in pod["env"]})
