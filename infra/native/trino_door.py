"""Trino behind TLS: its settings with those of tls.properties, and a password for every name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from infra.servers.certificates import TRUST_PASSWORD
from infra.servers.door import Door
from lake.roles import ROLES
from lake.state import write_closed

OWNER = "ticklake"
CONFIG = Path(__file__).parents[1] / "config" / "trino"
PASSWORDS = "trino-passwords"
SETTINGS = "trino.properties"
HASH_ROUNDS = 10_000
"""Ours are random and 128 bits long: rounds guard nothing, and every request costs them."""


def users() -> list[str]:
    """Return the names that Trino knows."""
    return [OWNER, *(name for name, role in ROLES.items() if role.asks_trino)]


def password_name(user: str) -> str:
    """Return the name of a user's password among a home's."""
    return f"trino_{user}"


def see_to_files(home: Path, passwords: Mapping[str, str]) -> None:
    """Write settings and passwords where only their owner reads them."""
    hashed = [f"{name}:{hashed_word(passwords[password_name(name)])}\n" for name in users()]
    write_closed(home / "run" / PASSWORDS, "".join(hashed))
    write_closed(home / "run" / SETTINGS, settings())


def settings() -> str:
    """Return config.properties with tls.properties laid over it."""
    laid = pairs(CONFIG / "config.properties") | pairs(CONFIG / "tls.properties")
    return "".join(f"{name}={value}\n" for name, value in laid.items())


def pairs(path: Path) -> dict[str, str]:
    """Return the names and values of a properties file."""
    lines = (line.strip() for line in path.read_text().splitlines())
    parts = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in parts}


def hashed_word(password: str) -> str:
    """Return a password as Trino's file has it: rounds, salt and hash of PBKDF2; SHA-1 is its word.

    The same each time, so that an unchanged file restarts nothing.
    """
    salt = hashlib.sha256(b"trino" + password.encode()).digest()[:16]
    found = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, HASH_ROUNDS)
    return f"{HASH_ROUNDS}:{salt.hex()}:{found.hex()}"


def variables(home: Path, door: Door, passwords: Mapping[str, str]) -> dict[str, str]:
    """Return what tls.properties and the catalogs ask for; without TLS, nothing of it."""
    if not door.tls:
        return {"POSTGRES_TLS": ""}
    return {
        "POSTGRES_TLS": door.libpq.replace("?", "&", 1),
        "TLS_FOLDER": str(door.tls),
        "TRINO_PASSWORDS": str(home / "run" / PASSWORDS),
        "TRINO_SECRET": passwords["trino_secret"],
    }


def java_words(door: Door) -> list[str]:
    """Return what Java is told of whom to trust: the S3 store's CA."""
    if not door.tls:
        return []
    return [
        f"-Djavax.net.ssl.trustStore={door.tls / 'trust.p12'}",
        "-Djavax.net.ssl.trustStoreType=PKCS12",
        f"-Djavax.net.ssl.trustStorePassword={TRUST_PASSWORD}",
    ]
