"""Who may come into MLflow, in its own tables: on a real PostgreSQL with the table of its users.

That MLflow takes them is asked of its server in tests/stack/test_tls.py."""

from __future__ import annotations

import psycopg
import pytest
from werkzeug.security import check_password_hash

from infra.native import model_users
from infra.native.model_users import from_env, hashed_word, main, see_to_users
from lake.clock import ManualClock
from lake.errors import BadInput, Unavailable
from tests.conftest import Databases
from tests.infra.manifests import containers, pods

WORDS = {
    "MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg2://mlflow:a%40b@host:5432/mlflow",
    "MLFLOW_AUTH_ADMIN_PASSWORD": "the owner's",
    **{f"{name.upper()}_PASSWORD": f"word of {name}" for name in model_users.READERS},
}
TABLE = """CREATE TABLE public.users (id SERIAL PRIMARY KEY, username VARCHAR(255) UNIQUE,
password_hash VARCHAR(255), is_admin BOOLEAN)"""


@pytest.fixture
def dsn(databases: Databases) -> str:
    return databases.dsn(databases.create())


def held(database: psycopg.Connection) -> dict[str, tuple[str, bool]]:
    rows = database.execute("SELECT username, password_hash, is_admin FROM users").fetchall()
    return {name: (word, admin) for name, word, admin in rows}


def test_mlflow_reads_the_hash_of_a_password() -> None:
    assert check_password_hash(hashed_word("right"), "right")
    assert not check_password_hash(hashed_word("right"), "wrong")
    assert hashed_word("right") == hashed_word("right")


def test_before_its_tables_nothing_is_written_then_everyone_has_his_own(dsn: str) -> None:
    _, passwords = from_env(WORDS)
    with psycopg.connect(dsn, autocommit=True) as database:
        assert not see_to_users(database, passwords)
        database.execute(TABLE)
        database.execute("INSERT INTO users VALUES (1, 'ticklake', 'of its first start', true)")
        database.execute("SELECT setval('users_id_seq', 1)")
        assert see_to_users(database, passwords)
        found = held(database)
        assert {name for name, (_, admin) in found.items() if admin} == {"ticklake"}
        assert found.keys() == {"ticklake", *model_users.READERS}
        for name, (word, _) in found.items():
            assert check_password_hash(word, passwords[name]), name
        assert see_to_users(database, {"service": "another"})
        assert check_password_hash(held(database)["service"][0], "another")
        assert held(database)["analyst"] == found["analyst"]


def test_a_server_that_makes_no_tables_is_said(dsn: str) -> None:
    with pytest.raises(Unavailable, match="MLflow: has made no users"):
        main(dsn, {"ticklake": "word"}, ManualClock())


@pytest.mark.parametrize("missing", WORDS)
def test_what_is_missing_is_named(missing: str) -> None:
    with pytest.raises(BadInput, match=f"{missing}: is not set"):
        from_env({**WORDS, missing: ""})


def test_the_address_is_libpq_s_and_kubernetes_gives_all_that_is_asked() -> None:
    assert from_env(WORDS)[0] == "postgresql://mlflow:a%40b@host:5432/mlflow"
    (pod,) = containers(pods()["Job/mlflow-users"])
    from_env({each["name"]: "postgresql+psycopg2://x" for each in pod["env"]})
