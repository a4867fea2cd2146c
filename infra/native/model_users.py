"""MLflow's users behind TLS: the owner, and every role that reads models, with its own password.

MLflow makes the owner by itself at its first start, and reads no other password from then on: they
are in its own tables, which are written here. `python -m infra.native.model_users` does it in a
container, once MLflow has made them.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping

import psycopg

from infra.native.page_door import USER
from infra.native.trino_door import HASH_ROUNDS
from infra.servers.process import wait_until
from lake.clock import Clock, SystemClock
from lake.errors import BadInput, TicklakeError, Unavailable
from lake.roles import ROLES

READERS = tuple(name for name, role in ROLES.items() if role.asks_trino)
"""Roles that read what models said, and so which models there are."""

READY_S_MAX = 120.0
"""Seconds that MLflow has to make its tables."""

DATABASE, PASSWORD = "MLFLOW_BACKEND_STORE_URI", "MLFLOW_AUTH_ADMIN_PASSWORD"
"""Variables of MLflow's own server."""

_TABLE = "SELECT to_regclass('public.users') IS NOT NULL"
_PUT = """
INSERT INTO public.users (username, password_hash, is_admin) VALUES (%s, %s, %s)
ON CONFLICT (username) DO UPDATE SET password_hash = EXCLUDED.password_hash
"""


def see_to_users(database: psycopg.Connection, passwords: Mapping[str, str]) -> bool:
    """Have MLflow know these passwords, by name; tell whether its tables are there.

    The owner may do everything, the others what MLflow's file says (page_door.see_to_file).
    """
    if database.execute(_TABLE).fetchone() != (True,):
        return False
    with database.cursor() as cursor:
        cursor.executemany(
            _PUT, [(user, hashed_word(word), user == USER) for user, word in passwords.items()]
        )
    return True


def hashed_word(password: str) -> str:
    """Return a password as MLflow's users have it: method, rounds, salt and hash (Werkzeug's form).

    Few rounds: ours are random and 128 bits long, and each request costs them.
    """
    salt = hashlib.sha256(b"mlflow" + password.encode()).hexdigest()[:16]
    raw = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), HASH_ROUNDS)
    return f"pbkdf2:sha256:{HASH_ROUNDS}${salt}${raw.hex()}"


def from_env(environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return MLflow's database and the passwords by name; BadInput names what is missing."""
    names = {USER: PASSWORD, **{name: f"{name.upper()}_PASSWORD" for name in READERS}}
    for name in (DATABASE, *names.values()):
        if not environ.get(name):
            raise BadInput(name, "is not set", "MLflow's users are made by it")
    scheme, _, place = environ[DATABASE].partition("://")
    return f"{scheme.partition('+')[0]}://{place}", {
        user: environ[name] for user, name in names.items()
    }


def main(dsn: str, passwords: Mapping[str, str], clock: Clock) -> None:
    """Wait for MLflow's tables and write; Unavailable when they do not come."""

    def written() -> bool:
        try:
            with psycopg.connect(dsn) as database:
                return see_to_users(database, passwords)
        except psycopg.OperationalError:
            return False

    if not wait_until(clock, written, READY_S_MAX):
        raise Unavailable("MLflow", "has made no users", "start its server, then this again")


if __name__ == "__main__":
    try:
        main(*from_env(os.environ), SystemClock())
    except TicklakeError as error:
        sys.exit(f"mlflow: {error}")
