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
    settings: Settings,
    day_us: int,
    session: str | None,
    against: tuple[str, ...],
    strategies: tuple[str, ...] = (),
) -> Answer:
    """Decide the sessions of a UTC day again, and compare; holds where all was and none differs.

    strategies: decide for a day that has no session, as if one of theirs had been live.
    """
    from lake.roles import role_dsn
    from serving.session.session_log import SessionLog

    home = settings.home.resolve()
    with SessionLog(role_dsn(home, "service")) as log:
        names = log.of_day(day_us)
        wanted = [name for name in names if session in (None, name)]
        if not names and strategies and session is None and not against:
            return _as_if(settings, home, day_us, strategies)
        if strategies:
            fault = "is for a day without a session, and nothing is there to compare with"
            raise WrongUse("--strategy with --replay", fault, "leave it, --session and --against")
        if not wanted:
            there = ", ".join(names) or "no session at all; --strategy decides as if one had been"
            raise WrongUse(f"session {session or 'of that day'}", "is not there", f"it has {there}")
        found = [_again(home, log.read(name), against) for name in wanted]
    differs = any(each["differs"] or each["not_compared"] for each in found)
    lines = [line for each in found for line in _lines(each)]
    return Answer({"sessions": found}, lines, holds=not differs)


def _as_if(settings: Settings, home: Path, day_us: int, strategies: tuple[str, ...]) -> Answer:
    """Decide a day that nobody traded, from the lake."""
    from lake.client import connect
    from lake.clock import SystemClock
    from serving.broker.given_costs import costs_given
    from serving.risk.given_limits import limits_given
    from serving.session.model_choice import models_of
    from serving.session.plan import Plan, plan_of_words
    from serving.session.replay import orders_of_day, shards_of_day
    from serving.signals.models import Models

    costs, limits = costs_given(settings.slippage_bp), limits_given(settings.limits)
    plan = Plan(plan_of_words(strategies), costs=costs, limits=limits)
    in_use = Models(home)
    if plan.wants_rows:
        in_use.look()
    found = []
    with connect(home, role="service") as client:
        for shard in shards_of_day(client, day_us):
            models = models_of(plan, in_use, SystemClock())
            orders = orders_of_day(home, plan, shard, day_us, client, models)
            said = {"shard": shard, "orders": len(orders), "sha256": orders.digest()}
            found.append({"session": None, **said, "from": "lake", "against": [], "differs": {}})
    if not found:
        raise WrongUse("that day", "has no trades and no quotes", "backfill it, or name another")
    lines = [
        f"shard {each['shard']}, as if a session had been: {each['orders']:,} orders,"
        f" {each['sha256']}"
        for each in found
    ]
    return Answer({"sessions": found}, lines)


def _again(home: Path, logged: Logged, against: tuple[str, ...]) -> dict[str, Any]:
    from serving.session.orders import first_difference
    from serving.session.replay import has_journal, orders_of_journal

    start = logged.start
    is_kept = has_journal(home, logged)
    if is_kept:
        orders = orders_of_journal(home, logged, _models(home, logged))
    else:  # its segments are sealed and gone, by age: the lake has the same rows
        orders = _other(home, logged, "lake")
    differs = {}
    others = [name for name in against if is_kept or name != "lake"]  # not with itself
    for name in others:
        other = _other(home, logged, name)
        pair = first_difference(orders, other)
        if pair is not None:
            differs[name] = {"replay": pair[0], name: pair[1]}
    ended = logged.ended
    return {
        "session": start.session,
        "shard": start.shard,
        "strategies": {name: dict(params) for name, params in start.plan.strategies.items()},
        "ended": ended is not None,
        "abandoned": "" if ended is None else ended.said.get("broken", ""),
        "taken_back": None if ended is None else ended.said.get("taken_back"),
        "orders": len(orders),
        "sha256": orders.digest(),
        "from": "journal" if is_kept else "lake",
        "against": others,
        "not_compared": [name for name in dict.fromkeys(against) if name not in others],
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
    from serving.session.model_choice import models_of
    from serving.signals.models import Models

    return models_of(logged.start.plan, Models(home), SystemClock())


def _lines(each: dict[str, Any]) -> list[str]:
    running = "" if each["ended"] else ", not ended: as far as the journal goes now"
    from_lake = "" if each["from"] == "journal" else ", from the lake: its journal is gone"
    said = f"{each['orders']:,} orders, {each['sha256']}{running}{from_lake}"
    lines = [f"{each['session']}: {said}"]
    if each["abandoned"]:
        taken = "its last cancels are the ledger's alone"
        if each["taken_back"] is not None:
            taken = f"{len(each['taken_back']):,} orders taken back as the ledger had them"
        lines.append(f"  abandoned, {taken}: {each['abandoned']}")
    for name in each["against"]:
        pair = each["differs"].get(name)
        if pair is None:
            lines.append(f"  {name}: same decisions")
        else:
            lines += [f"  {name}: differs first in", f"    replay  {pair['replay'] or '(no more)'}"]
            lines.append(f"    {name:7} {pair[name] or '(no more)'}")
    for name in each["not_compared"]:
        fault = "not compared: its journal is gone, and these are the lake's own orders"
        lines.append(f"  {name}: {fault}: compare with the ledger")
    return lines
