"""The newest rows of a dataset, found by their time alone first.

An engine that is asked for the newest million of ten million rows sorts all ten, every column of
them. Here the time from which on there are as many is looked for in windows that double, so only
the files of those days are read, and only that column; then just the rows wanted are read and
sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from lake.contracts.contract import load
from lake.errors import WrongUse
from lake.views.engine import quote

Ask = Callable[[str], list[tuple[object, ...]]]
"""Run a query and return its rows."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WINDOW = timedelta(days=1)
FIRST = datetime(1990, 1, 1, tzinfo=UTC)
"""No tick is older: the last window goes back to here."""


def newest_sql(
    ask: Ask, dataset: str, count: int, where: Mapping[str, str], before: datetime | None = None
) -> str:
    """Return the query of the newest `count` rows, newest first, every column.

    before: their times are before it, None: whatever time they have; where: column -> the text
    that it holds. Of rows of one time the one received last comes first.
    Raises WrongUse for a dataset without event_time, a column that it has not, or no count.
    """
    contract = load(dataset)
    names = set(contract.names)
    lacking = ({"event_time"} | set(where)) - names
    if lacking:
        fault = f"has no column {', '.join(sorted(lacking))}"
        raise WrongUse(f"dataset {dataset}", fault, f"it has {', '.join(contract.names)}")
    if count < 1:
        raise WrongUse(f"newest {count} rows", "are none", "ask for 1 or more")
    has = "".join(f' AND "{name}" = {quote(value)}' for name, value in where.items())
    until = f" AND event_time < {_time(before)}" if before else ""
    since = _since(ask, f"FROM {dataset} WHERE ", until + has, before, count)
    order = "event_time DESC" + (", seq DESC" if "seq" in names else "")
    within = f"event_time >= {_time(since)}{until}{has}"
    return f"FROM {dataset} WHERE {within} ORDER BY {order} LIMIT {count}"


def _since(ask: Ask, rows: str, has: str, before: datetime | None, count: int) -> datetime:
    """Return a time from which on there are `count` rows, or FIRST where there are fewer."""
    at, window, found, until = before or _now(ask), WINDOW, 0, ""
    while at > FIRST:
        start = max(FIRST, at - window)
        within = f"event_time >= {_time(start)}{until}{has}"
        ((here,),) = ask(f"SELECT count(*) {rows}{within}")
        there = int(str(here))
        if found + there >= count:
            return _nth(ask, f"{rows}{within}", count - found)
        found, at, window = found + there, start, window * 2
        until = f" AND event_time < {_time(start)}"
    return FIRST


def _now(ask: Ask) -> datetime:
    """Return the engine's time: only where to begin, the first window has no end."""
    ((us,),) = ask("SELECT epoch_us(now())")
    return EPOCH + timedelta(microseconds=int(str(us)))


def _nth(ask: Ask, rows: str, number: int) -> datetime:
    """Return the time of the row that is the number-th from the newest."""
    ((us,),) = ask(
        f"SELECT epoch_us(event_time) {rows} ORDER BY event_time DESC LIMIT 1 OFFSET {number - 1}"
    )
    return EPOCH + timedelta(microseconds=int(str(us)))


def _time(at: datetime) -> str:
    return f"TIMESTAMPTZ '{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00'"
