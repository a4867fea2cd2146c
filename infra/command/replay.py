"""ticklake live --replay: a recorded day's sessions, decided again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.command.answer import Answer
from lake.errors import WrongUse
from lake.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from serving.session.models import Models
    from serving.session.orders import Orders
    from serving.session.session_log import Logged


def replayed(
    settings: Settings, day_us: int, session: str | None, against: tuple[str, ...]
) -> Answer:
    """Decide the sessions of a UTC day again, and compare; holds where nothing differs."""
    from lake.roles import role_dsn
    from serving.session.session_log import SessionLog

    home = settings.home.resolve()
    with SessionLog(role_dsn(home, "service")) as log:
        names = log.of_day(day_us)
        wanted = [name for name in names if session in (None, name)]
        if not wanted:
            there = ", ".join(names) or "no session at all"
            raise WrongUse(f"session {session or 'of that day'}", "is not there", f"it has {there}")
        found = [_again(home, log.read(name), against) for name in wanted]
    differs = any(each["differs"] for each in found)
    lines = [line for each in found for line in _lines(each)]
    return Answer({"sessions": found}, lines, holds=not differs)


def _again(home: Path, logged: Logged, against: tuple[str, ...]) -> dict[str, Any]:
    from serving.session.orders import first_difference
    from serving.session.replay import orders_of_journal

    start = logged.start
    orders = orders_of_journal(home, logged, _models(home, logged))
    differs = {}
    for name in against:
        other = _other(home, logged, name)
        pair = first_difference(orders, other)
        if pair is not None:
            differs[name] = {"replay": pair[0], name: pair[1]}
    return {
        "session": start.session,
        "shard": start.shard,
        "strategies": {name: dict(params) for name, params in start.plan.strategies.items()},
        "ended": logged.ended is not None,
        "orders": len(orders),
        "sha256": orders.digest(),
        "against": list(against),
        "differs": differs,
    }


def _other(home: Path, logged: Logged, name: str) -> Orders:
    """Return a session's orders as the ledger or the lake has them."""
    import psycopg

    from lake.client import connect
    from lake.roles import role_dsn
    from serving.session.orders import orders_of_ledger
    from serving.session.replay import orders_of_lake

    if name == "lake":
        with connect(home, role="service") as client:
            return orders_of_lake(home, logged, client, _models(home, logged))
    with psycopg.connect(role_dsn(home, "service")) as connection:
        return orders_of_ledger(connection, logged.start.session)


def _models(home: Path, logged: Logged) -> Models:
    """Return what the session's strategies are told by: the versions that its log names."""
    from lake.clock import SystemClock
    from serving.session.champion import models_of
    from serving.signals.models import Models

    return models_of(logged.start.plan, Models(home), SystemClock())


def _lines(each: dict[str, Any]) -> list[str]:
    running = "" if each["ended"] else ", not ended: as far as the journal goes now"
    lines = [f"{each['session']}: {each['orders']:,} orders, {each['sha256']}{running}"]
    for name in each["against"]:
        pair = each["differs"].get(name)
        if pair is None:
            lines.append(f"  {name}: same decisions")
        else:
            lines += [f"  {name}: differs first in", f"    replay  {pair['replay'] or '(no more)'}"]
            lines.append(f"    {name:7} {pair[name] or '(no more)'}")
    return lines
