"""What our PostgreSQL sessions start with."""

from __future__ import annotations

from urllib.parse import quote

IDLE_IN_TRANSACTION_MS = 10_000
"""The server ends a writer's transaction that does nothing for so long: a process stopped inside
one would else hold its lease's row against its successor."""

BY_RANGE = {"enable_seqscan": "off"}
"""Settings of readers, who want a stretch of seq or time: of a table that is minutes old the
planner has no statistics, and would read all of it instead of the ranges that BRIN names."""


def with_options(dsn: str, **options: str | int) -> str:
    """Return a libpq URI or key-value string whose sessions start with these server settings."""
    flags = " ".join(f"-c {name}={value}" for name, value in options.items())
    if "://" not in dsn:
        return f"{dsn} options='{flags}'"
    return f"{dsn}{'&' if '?' in dsn else '?'}options={quote(flags)}"
