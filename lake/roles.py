"""Roles of least privilege: who may do what, and the address that each connects with.

The database's roles are market_<name> (migration 0012), the object store's keys and Trino's users
have the same names. A home whose servers know no roles is used by its owner throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lake.state import postgres_dsn, read_state


@dataclass(frozen=True, slots=True)
class Role:
    """What a role is for; whether Trino serves it; how long its statements may run, 0: as long as
    they need.
    """

    meaning: str
    asks_trino: bool = False
    statement_s_max: int = 0


QUERY_S_MAX = 900
"""Longest query of a reader; a day leaves hot and a file leaves the lake no sooner (GRACE_S,
REMOVE_AFTER_S)."""

ROLES: Mapping[str, Role] = {
    "ingest": Role("appends to the hot tier; changes and removes nothing"),
    "lake_writer": Role("commits to the lake's market tables"),
    "verifier": Role("reads everything, leaves marks and seals"),
    "analyst": Role("reads market data and views; writes nothing", True, QUERY_S_MAX),
    "researcher": Role("an analyst with a schema of its own, research", True, QUERY_S_MAX),
    "operator": Role("maintains everything", True),
    "service": Role(
        "reads for the live half; adds orders, words, predictions, alerts of models",
        True,
        QUERY_S_MAX,
    ),
}


def database_role(name: str) -> str:
    """Return the name of a role in PostgreSQL."""
    return f"market_{name}"


def role_dsn(home: Path, name: str) -> str:
    """Return the libpq URI with which a role connects; the owner's where the home has no roles.

    Raises Unavailable before `up`.
    """
    found = read_state(home).get("roles", {}).get(name, {}).get("dsn")
    return found if isinstance(found, str) else postgres_dsn(home)
