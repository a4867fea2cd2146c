"""MLflow's users behind TLS: the owner, and the service, which reads the models that it asks.

MLflow makes the owner by itself at its first start, and reads no other password from then on: they
are in its own tables, which are written here. `python -m infra.native.model_users` does it in a
container, once MLflow has made them. No other role comes in: whoever does may enter models of his
own there, give them a role, and be believed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Mapping

import psycopg

from infra.native.page_door import USER
from infra.native.trino_door import HASH_ROUNDS
from infra.servers.addresses import READS_MODELS
from infra.servers.process import wait_until
from lake.clock import Clock, SystemClock
from lake.errors import BadInput, TicklakeError, Unavailable

READY_S_MAX, LOOK_S = 120.0, 1.0
"""Time that MLflow has to make its tables, and between two looks for them."""

DATABASE = "MLFLOW_BACKEND_STORE_URI"
PASSWORDS = {USER: "MLFLOW_AUTH_ADMIN_PASSWORD", READS_MODELS: "SERVICE_PASSWORD"}
"""Variables of a container, those of MLflow's own server among them."""

SCRYPT_N, SCRYPT_R, SCRYPT_P = 32_768, 8, 1
"""What MLflow asks of a guess: some 50 ms and 32 MiB."""

_TABLE = "SELECT to_regclass('public.users') IS NOT NULL"
_PUT = """
INSERT INTO public.users (username, password_hash, is_admin) VALUES (%s, %s, %s)
ON CONFLICT (username) DO UPDATE
SET password_hash = EXCLUDED.password_hash, is_admin = EXCLUDED.is_admin
"""


def see_to_users(database: psycopg.Connection, hashes: Mapping[str, str]) -> bool:
    """Have MLflow know these passwords, hashed, by name; tell whether its tables are there.

    The owner may do everything, the others what MLflow's file says (page_door.see_to_file).
    """
    if database.execute(_TABLE).fetchone() != (True,):
        return False
    with database.cursor() as cursor:
        cursor.executemany(_PUT, [(user, word, user == USER) for user, word in hashes.items()])
    return True


def hash_of_random(password: str) -> str:
    """Return a password that is 128 random bits as MLflow's users have it: method, rounds, salt and
    hash (Werkzeug's form).

    Few rounds: they guard nothing there, and each request costs them.
    """
    salt = secrets.token_hex(8)
    raw = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), HASH_ROUNDS)
    return f"pbkdf2:sha256:{HASH_ROUNDS}${salt}${raw.hex()}"


def hash_of_chosen(password: str) -> str:
    """Return a password that somebody chose as MLflow hashes it itself."""
    salt = secrets.token_hex(8)
    raw = hashlib.scrypt(
        password.encode(),
        salt=salt.encode(),
        n=SCRYPT_N,
        r=SCRYPT_R,
        p=SCRYPT_P,
        maxmem=132 * SCRYPT_N * SCRYPT_R * SCRYPT_P,
    )
    return f"scrypt:{SCRYPT_N}:{SCRYPT_R}:{SCRYPT_P}${salt}${raw.hex()}"


def from_env(environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return MLflow's database and the passwords by name; BadInput names what is missing."""
    for name in (DATABASE, *PASSWORDS.values()):
        if not environ.get(name):
            raise BadInput(name, "is not set", "MLflow's users are made by it")
    scheme, _, place = environ[DATABASE].partition("://")
    dsn = f"{scheme.partition('+')[0]}://{place}"
    return dsn, {user: environ[name] for user, name in PASSWORDS.items()}


def main(dsn: str, passwords: Mapping[str, str], clock: Clock) -> None:
    """Wait for MLflow's tables and write; Unavailable says what is in the way."""
    hashes = {user: hash_of_chosen(word) for user, word in passwords.items()}
    fault = ""

    def written() -> bool:
        nonlocal fault
        try:
            with psycopg.connect(dsn) as database:
                fault = "has made no users yet"
                return see_to_users(database, hashes)
        except psycopg.Error as error:
            fault = f"its database: {' '.join(str(error).split())}"
            return False

    if not wait_until(clock, written, READY_S_MAX, LOOK_S):
        raise Unavailable("MLflow", fault, "see to it, and to its server, then start this again")


if __name__ == "__main__":
    try:
        main(*from_env(os.environ), SystemClock())
    except TicklakeError as error:
        sys.exit(f"mlflow: {error}")
