"""A shard's claim on what it ingests, so that each instrument has one way in.

A claim is FEED|TICKER, or FEED|* for every ticker of a feed. Claims of a shard whose lease nobody
holds count for nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import psycopg

from lake.errors import Unavailable
from lake.hot.lease import LEASE_SECONDS, Lease, is_alive, release

CLAIMS_LOCK = 0x7469636B
"""Advisory lock under which claims are compared and written."""

LEAVING = "leaving "
"""An owner that only drains what it has journalled bears this before its name."""


def claim(connection: psycopg.Connection, shard: int, lease: Lease, claims: Sequence[str]) -> bool:
    """Write the shard's claims and return True.

    Another shard's hold on one of them gives the lease up: returns False when that shard is about
    to end by itself, raises Unavailable when it is not.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (CLAIMS_LOCK,))
        others = connection.execute(
            "SELECT s.shard, s.claims, l.pid, l.host, l.boot_id, l.owner FROM market.shards s"
            " JOIN market.leases l ON l.name = 'shard-' || s.shard"
            " WHERE s.shard <> %s AND l.owner IS NOT NULL"
            " AND l.heartbeat > now() - make_interval(secs => %s)",
            (shard, LEASE_SECONDS),
        ).fetchall()
        for other, theirs, pid, host, boot, owner in others:
            common = overlap(claims, theirs) if is_alive(pid, host, boot) else ""
            if common:
                release(connection, lease)
                if owner.startswith(LEAVING):
                    return False
                raise Unavailable(
                    f"shard {other} (process {pid})",
                    f"ingests {common} already, and an instrument has one way in",
                    "stop it first, or name other tickers",
                )
        connection.execute(
            "INSERT INTO market.shards (shard, claims) VALUES (%s, %s::jsonb)"
            " ON CONFLICT (shard) DO UPDATE SET claims = excluded.claims",
            (shard, json.dumps(list(claims))),
        )
    return True


def leave(connection: psycopg.Connection, lease: Lease) -> None:
    """Say that this owner takes nothing in any more, so that a successor waits for its end."""
    connection.execute(
        "UPDATE market.leases SET owner = %s || owner WHERE name = %s AND epoch = %s",
        (LEAVING, lease.name, lease.epoch),
    )


def covered(ours: Sequence[str], by: Sequence[str]) -> bool:
    """Tell whether each of our claims lies within one of another's."""
    return all(each in by or f"{each.split('|')[0]}|*" in by for each in ours)


def owner(connection: psycopg.Connection, claims: Sequence[str]) -> int | None:
    """Return the shard whose living owner ingests one of these claims; None if nobody does.

    An owner that only drains takes nothing in any more. Raises Unavailable when it owns some of
    them only: then there is no one journal for them all.
    """
    for shard, theirs in _living(connection):
        common = overlap(claims, theirs)
        if common and not covered(claims, theirs):
            raise Unavailable(
                f"shard {shard}",
                f"ingests {common} and not the other tickers of this backfill",
                "bring them in one ticker at a time, or stop that ingest",
            )
        if common:
            return shard
    return None


def is_owned(connection: psycopg.Connection, shard: int) -> bool:
    """Tell whether a shard's owner lives and still takes things in."""
    return claims_of(connection, shard) is not None


def claims_of(connection: psycopg.Connection, shard: int) -> list[str] | None:
    """Return what a shard's owner ingests; None where none lives that takes things in."""
    return dict(_living(connection)).get(shard)


def _living(connection: psycopg.Connection) -> list[tuple[int, list[str]]]:
    rows = connection.execute(
        "SELECT s.shard::int, s.claims, l.pid, l.host, l.boot_id FROM market.shards s"
        " JOIN market.leases l ON l.name = 'shard-' || s.shard"
        " WHERE l.owner IS NOT NULL AND NOT starts_with(l.owner, %s)"
        " AND l.heartbeat > now() - make_interval(secs => %s) ORDER BY 1",
        (LEAVING, LEASE_SECONDS),
    ).fetchall()
    return [(shard, theirs) for shard, theirs, *where in rows if is_alive(*where)]


def overlap(ours: Sequence[str], theirs: Sequence[str]) -> str:
    """Return something that both claim; "" when there is nothing."""
    for mine in ours:
        feed, ticker = mine.split("|")
        for other in theirs:
            other_feed, other_ticker = other.split("|")
            if feed == other_feed and (ticker == other_ticker or "*" in (ticker, other_ticker)):
                return f"{feed} {ticker if ticker != '*' else other_ticker}"
    return ""
