"""ticklake roles."""

from __future__ import annotations

import click

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.errors import Unavailable
from lake.roles import ROLES
from lake.settings import Settings
from lake.state import RUN_UP, read_state
from lake.views.engine import without_passwords

HIDDEN = "***"


@click.command()
@click.argument("names", nargs=-1, metavar="[ROLE]...", type=click.Choice(list(ROLES)))
@click.option("--passwords", is_flag=True, help="Show passwords and secret keys too.")
@verb
def roles(settings: Settings, names: tuple[str, ...], passwords: bool) -> Answer:
    """Say who may do what, and how to connect as each; passwords only where asked for."""
    known = read_state(settings.home).get("roles", {})
    if not known:
        raise Unavailable(f"roles of {settings.home}", "not made", RUN_UP)
    found = {}
    for name in names or ROLES:
        ways = {way: shown(way, each, passwords) for way, each in known.get(name, {}).items()}
        found[name] = {"meaning": ROLES[name].meaning, **ways}
    lines = []
    for name, each in found.items():
        lines.append(f"{name:12}{each['meaning']}")
        lines += [
            f"{'':12}{way:6} {text(each[way])}" for way in ("dsn", "s3", "trino") if way in each
        ]
    return Answer({"roles": found}, lines)


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
