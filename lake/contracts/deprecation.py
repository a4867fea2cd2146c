"""How a column goes: announced with a date three months off at least, kept until then.

A contract marks the column with deprecatedSince and goesAfter (dates), and replacedBy where another
column takes its place. Until the date nothing changes for readers: the column stays and is filled.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import date

from lake.contracts.contract import Column, Contract

NOTICE_MONTHS = 3


def months_after(day: date, months: int) -> date:
    """Return the same day so many months later, or that month's last."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(day.day, last))


def faults(contract: Contract) -> Iterator[tuple[str, str]]:
    """Yield (column, fault) of what a contract says of its columns' end by itself."""
    for column in contract.columns:
        since, after = column.deprecated_since, column.goes_after
        if (since is None) != (after is None):
            yield column.name, "deprecatedSince and goesAfter go together"
        elif since and after and after < months_after(since, NOTICE_MONTHS):
            earliest = months_after(since, NOTICE_MONTHS)
            yield column.name, f"goes after {after}, which is too soon: {earliest} or later"
        if column.replaced_by and column.replaced_by not in contract.names:
            yield column.name, f"is replaced by {column.replaced_by}, which is no column"
        if column.replaced_by and since is None:
            yield column.name, "is replaced, but not deprecated"


def breaks(was: Column, now: Column, today: date) -> Iterator[str]:
    """Yield what a contract breaks of the notice that the last release gave of a column."""
    if now.goes_after is None:
        return
    if was.goes_after is None:
        earliest = months_after(today, NOTICE_MONTHS)
        if now.goes_after < earliest:
            yield f"newly deprecated, goes after {now.goes_after}: {earliest} or later"
    elif now.goes_after < was.goes_after:
        yield f"was to stay until {was.goes_after}, now goes after {now.goes_after}"


def removal(contract: Contract, column: Column, today: date) -> str:
    """Return why a released column may not be gone today; "" where it may."""
    if column.goes_after is None:
        return "removed"
    if today <= column.goes_after:
        return f"removed, and was to stay until {column.goes_after}"
    if contract.ledger_time:
        # its stored rows were digested with it, and are proven again and again
        return "removed, and the loss ledger's digests hold it: leave it in, optional and empty"
    return ""
