"""What our PostgreSQL sessions start with."""

from __future__ import annotations

from urllib.parse import quote

IDLE_IN_TRANSACTION_MS = 10_000
"""The server ends a writer's transaction that does nothing for so long: a process stopped inside
one would else hold its lease's row against its successor."""


def with_options(dsn: str, **options: str | int) -> str:
    """Return a postgresql:// address whose sessions start with these server settings."""
    flags = " ".join(f"-c {name}={value}" for name, value in options.items())
    return f"{dsn}{'&' if '?' in dsn else '?'}options={quote(flags)}"
