"""ticklake sla."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import psycopg

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.roles import role_dsn
from lake.settings import Settings
from lake.state import postgres_dsn

if TYPE_CHECKING:
    from lake.hot.promises import Month, Standing


@click.group()
def sla() -> None:
    """What is promised of freshness, completeness and quality, and whether it is kept."""


@sla.command()
@click.option(
    "--month",
    type=click.DateTime(["%Y-%m"]),
    help="Month to report, as 2026-11; this one by default.",
)
@verb
def report(settings: Settings, month: datetime | None) -> Answer:
    """Report a month, by promise: the share of its minutes in which it was kept.

    Minutes are those looked at, and those in which the hot tier did not answer; how many of the
    month's that is, is said. Ends with 1 where freshness was kept in less than 99.9 %.
    """
    from lake.clock import SystemClock, utc_from_us
    from lake.hot.promises import FRESH_SHARE_GOAL, months, standings

    now = utc_from_us(SystemClock().now_us())
    first = (month.replace(tzinfo=UTC) if month else now).date().replace(day=1)
    with psycopg.connect(postgres_dsn(settings.home)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = months(connection, first)
        now_held = standings(connection)
    passed = minutes_passed(first, now)
    rows = [{**asdict(each), "share": each.share, "minutes_passed": passed} for each in found]
    short = [e for e in found if e.promise == "freshness" and e.share < FRESH_SHARE_GOAL]
    return Answer(
        {"month": f"{first:%Y-%m}", "goal": FRESH_SHARE_GOAL, "promises": rows,
         "now": [standing_document(each) for each in now_held]},
        [*(month_line(each, passed) for each in found), *map(standing_line, now_held)]
        or ["nothing was measured yet: `ticklake up` starts the watch"],
        holds=not short,
    )  # fmt: skip


@sla.command()
@verb
def check(settings: Settings) -> Answer:
    """Measure every promise now, raise and clear alerts, tell receivers. Ends with 1 when broken.

    The flows' process does this every half a minute; it may be called at any time.
    """
    from flows.watch import look
    from lake.clock import SystemClock

    checked, told = look(settings.home, SystemClock())
    document = {
        "now": [standing_document(each) for each in checked.standings],
        "broken": [asdict(each) for each in checked.broken],
        "told": asdict(told),
    }
    lines = [*map(standing_line, checked.standings), checked.line(), told.line()]
    return Answer(document, lines, holds=not checked.broken)


@sla.command()
@click.argument("thing")
@verb
def pause(settings: Settings, thing: str) -> Answer:
    """Watch a dataset or feed no more, as one that ended for good; `resume` takes it back."""
    from lake.clock import SystemClock, utc_from_us

    return set_pause(settings, thing, utc_from_us(SystemClock().now_us()))


@sla.command()
@click.argument("thing")
@verb
def resume(settings: Settings, thing: str) -> Answer:
    """Watch a dataset or feed again."""
    return set_pause(settings, thing, None)


def set_pause(settings: Settings, thing: str, at: datetime | None) -> Answer:
    """Pause a thing's promises at a time, or resume them."""
    from lake.hot.promises import pause

    with psycopg.connect(role_dsn(settings.home, "operator"), autocommit=True) as connection:
        count = pause(connection, thing, at)
    word = "paused" if at else "watched again"
    return Answer({"thing": thing, "promises": count}, [f"{count} promises of {thing} are {word}"])


def month_line(each: Month, passed: int) -> str:
    """Return a promise's month in words."""
    from lake.hot.promises import floor_percent

    return (
        f"{each.month:%Y-%m}  {each.promise:12} {each.thing:18} kept {floor_percent(each.share):>9}"
        f"  missed {each.missed:,} min  looked at {each.minutes:,} of {passed:,} min"
    )


def standing_line(each: Standing) -> str:
    """Return in words how a promise stands now."""
    measured = each.measured
    state = ("kept" if measured.met else "BROKEN") if each.watched else "not watched"
    if measured.promise == "freshness":
        words = f"{measured.value:,.1f} s old, at most {measured.bound:,.0f} s"
    else:
        words = f"{measured.value:.2%}, at least {measured.bound:.2%}"
    return f"now      {measured.promise:12} {measured.thing:18} {state:11}  {words}"


def standing_document(each: Standing) -> dict[str, Any]:
    """Return for JSON how a promise stands now."""
    times = {"checked_at": each.checked_at, "watched_since": each.watched_since}
    return {**asdict(each.measured), "kept": each.measured.met, "watched": each.watched, **times}


def minutes_passed(first: Any, now: datetime) -> int:
    """Return the minutes of a month (its first day, UTC) that have passed."""
    begin = datetime(first.year, first.month, 1, tzinfo=UTC)
    end = datetime(first.year + first.month // 12, first.month % 12 + 1, 1, tzinfo=UTC)
    return max(0, int((min(now, end) - begin).total_seconds()) // 60)
