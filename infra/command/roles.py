"""ticklake roles."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import click

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.errors import Unavailable
from lake.roles import ROLES
from lake.settings import Settings
from lake.state import RUN_UP, read_state
from lake.views.engine import without_passwords

HIDDEN = "***"
WAYS = ("dsn", "s3", "trino", "url", "jdbc", "python")


@click.command()
@click.argument("names", nargs=-1, metavar="[ROLE]...", type=click.Choice(list(ROLES)))
@click.option("--passwords", is_flag=True, help="Show passwords and secret keys too.")
@verb
def roles(settings: Settings, names: tuple[str, ...], passwords: bool) -> Answer:
    """Say who may do what, and how to connect as each; passwords only where asked for."""
    from lake.trino_session import SCHEMA, VIEW_CATALOG, trino_of

    known = read_state(settings.home).get("roles", {})
    if not known:
        raise Unavailable(f"roles of {settings.home}", "not made", RUN_UP)
    found = {}
    for name in names or ROLES:
        ways = {way: shown(way, each, passwords) for way, each in known.get(name, {}).items()}
        asks = trino_of(settings.home, name) if "trino" in ways else None
        more = trino_addresses(asks, f"{VIEW_CATALOG}/{SCHEMA}") if asks else {}
        found[name] = {"meaning": ROLES[name].meaning, **ways, **more}
    lines = []
    for name, each in found.items():
        lines.append(f"{name:12}{each['meaning']}")
        lines += [f"{'':12}{way:6} {text(each[way])}" for way in WAYS if way in each]
    return Answer({"roles": found}, lines)


def trino_addresses(trino: Mapping[str, str], views: str) -> dict[str, str]:
    """Return where JDBC clients and SQLAlchemy find Trino's views; the password is not in it."""
    place = urlsplit(trino["url"])
    secure = "?SSL=true" if place.scheme == "https" else ""
    if secure and "ca" in trino:
        secure += f"&SSLTrustStorePath={quote(trino['ca'])}"
    return {
        "url": trino["url"],
        "jdbc": f"jdbc:trino://{place.netloc}/{views}{secure}",
        "python": f"trino://{trino['user']}@{place.netloc}/{views}",
    }


def shown(way: str, value: object, passwords: bool) -> object:
    """Return a way to connect, its secrets starred out unless they were asked for."""
    if passwords:
        return value
    if isinstance(value, dict):
        hidden = ("secret_key", "password")
        return {key: HIDDEN if key in hidden else each for key, each in value.items()}
    return without_passwords(str(value))


def text(value: object) -> str:
    """Return a way to connect as one line."""
    if isinstance(value, dict):
        return "  ".join(f"{key} {each}" for key, each in value.items())
    return str(value)
