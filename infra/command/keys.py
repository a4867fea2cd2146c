"""ticklake keys."""

from __future__ import annotations

from typing import Any, get_args

import click

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.clock import SystemClock, utc_from_us
from lake.settings import Settings
from serving.service.api_keys import ApiKey, KeyBook, Role
from serving.service.write_audit import FILE, first_fault


@click.group()
def keys() -> None:
    """Say who may call the live service, and as what: read, trade, admin; and what they wrote."""


@keys.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(get_args(Role)),
    default="read",
    show_default=True,
    help="read: look, predict; trade: orders, stop trading; admin: let it go on.",
)
@verb
def add(settings: Settings, name: str, role: Role) -> Answer:
    """Make a key for NAME and print it once; only its hash is kept."""
    made, words = _book(settings).add(name, role)
    lines = [words, f"key {made.id} of {name}, {role}: keep it now, it is shown no more"]
    return Answer({"id": made.id, "name": name, "role": role, "key": words}, lines)


@keys.command("list")
@verb
def list_(settings: Settings) -> Answer:
    """List keys, revoked ones too."""
    found = _book(settings).keys()
    lines = [
        f"{each.id}  {each.role:6} {_time(each.created_us)}  "
        f"{'revoked ' + _time(each.revoked_us) if each.revoked_us else 'in use':25} {each.name}"
        for each in found
    ]
    return Answer({"keys": [_shown(each) for each in found]}, lines or ["no keys"])


@keys.command()
@click.argument("key_id", metavar="ID")
@verb
def revoke(settings: Settings, key_id: str) -> Answer:
    """End the key of this ID, at once and for good."""
    found = _book(settings).revoke(key_id)
    return Answer(_shown(found), [f"key {found.id} of {found.name} is revoked"])


@keys.command()
@verb
def audit(settings: Settings) -> Answer:
    """Find lines of the audit of writes that were changed, put in or taken out; end with 1 then.

    Lines that were cut off at its end leave no trace; see `ticklake ledger verify` for orders.
    """
    path = settings.home.resolve() / FILE
    if not path.exists():
        return Answer({"path": path, "lines": 0, "first_fault": None}, ["no write was asked for"])
    fault = first_fault(path)
    with path.open("rb") as file:
        count = sum(1 for _ in file)
    said = "each follows the one before it"
    if fault is not None:
        said = f"line {fault} does not follow the one before it: look at both in {path}"
    document = {"path": path, "lines": count, "first_fault": fault}
    return Answer(document, [f"{count:,} lines, {said}"], holds=fault is None)


def _book(settings: Settings) -> KeyBook:
    return KeyBook(settings.home.resolve(), SystemClock())


def _shown(key: ApiKey) -> dict[str, Any]:
    times = {"created_us": key.created_us, "revoked_us": key.revoked_us}
    return {"id": key.id, "name": key.name, "role": key.role, **times}


def _time(us: int | None) -> str:
    return f"{utc_from_us(us or 0):%Y-%m-%d %H:%M} UTC"
