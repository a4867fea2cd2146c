"""Give the roles of a home's PostgreSQL a login and a password of their own."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import conninfo, sql

from lake.errors import Unavailable
from lake.roles import ROLES, database_role
from lake.state import with_user


def login_names() -> list[str]:
    """Return the names of the roles' passwords among a home's."""
    return [database_role(name) for name in ROLES]


def give_logins(
    admin: str, owner_dsn: str, passwords: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Let every role with a password log in; return role -> {"dsn"}.

    passwords: by the names of login_names. admin: a superuser's connection to the same database,
    since only one may make the owner's rights the operator's; the owner's does the rest. Raises
    Unavailable when the server is not there.
    """
    owner = str(conninfo.conninfo_to_dict(owner_dsn)["user"])
    logins = {name: database_role(name) for name in ROLES if database_role(name) in passwords}
    try:
        with psycopg.connect(admin, autocommit=True) as connection:
            for name, login in logins.items():
                _give_login(connection, login, passwords[login], ROLES[name].statement_s_max)
            _give_ownership(connection, owner)
    except psycopg.OperationalError as error:
        raise Unavailable("PostgreSQL", f"no roles ({error})", "try again") from error
    return {
        name: {"dsn": with_user(owner_dsn, login, passwords[login])}
        for name, login in logins.items()
    }


def _give_login(
    connection: psycopg.Connection, login: str, password: str, statement_s_max: int
) -> None:
    may = connection.execute(
        "SELECT rolsuper OR pg_has_role(%s, 'MEMBER WITH ADMIN OPTION') FROM pg_roles"
        " WHERE rolname = current_user",
        [login],
    ).fetchone()
    if may == (False,):
        return  # the operator: whoever made it the owner's member gave it its password
    role = sql.Identifier(login)
    connection.execute(
        sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password))
    )
    if statement_s_max:
        connection.execute(
            sql.SQL("ALTER ROLE {} SET statement_timeout = {}").format(
                role, sql.Literal(f"{statement_s_max}s")
            )
        )


def _give_ownership(connection: psycopg.Connection, owner: str) -> None:
    """Make the operator a member of the owner: partitions are dropped and summarized by owners.

    The owner made the operator and so is its member, which must end first. An owner that is a
    superuser, as on a server run by hand, is nobody to share.
    """
    row = connection.execute(
        "SELECT rolsuper, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
        " FROM pg_roles WHERE rolname = %s",
        [owner],
    ).fetchone()
    if row != (False, True):
        return
    names = sql.Identifier(owner), sql.Identifier(database_role("operator"))
    member = connection.execute(
        "SELECT pg_has_role(%s, %s, 'MEMBER')", [database_role("operator"), owner]
    ).fetchone()
    if member == (False,):
        connection.execute(sql.SQL("REVOKE {1} FROM {0}").format(*names))
        connection.execute(sql.SQL("GRANT {0} TO {1}").format(*names))
