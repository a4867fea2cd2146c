"""Leases with fencing epochs: one owner for a shard, one committer for the lake.

Taking a lease raises its epoch; every write of the owner names the epoch it holds, and the server
refuses an older one in the same transaction (market.advance_shard, market.fence_catalog). So a
process that slept through its successor's start can do no harm when it wakes. The heartbeat only
decides when somebody else may try: it is about comfort, the epoch about safety.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import psycopg

from lake.errors import Fenced

LEASE_SECONDS = 10
"""A lease whose heartbeat is older may be taken; its owner beats every LEASE_SECONDS / 5."""

COMMITTER = "committer"


def shard_lease(shard: int) -> str:
    """Return the name of a shard's lease."""
    return f"shard-{shard}"


@dataclass(frozen=True, slots=True)
class Lease:
    """A held lease: its name and the epoch that fences earlier holders."""

    name: str
    epoch: int


def boot_id() -> str:
    """Return what tells this boot of this machine from any other."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else "unknown"


def take(connection: psycopg.Connection, name: str) -> Lease | None:
    """Take a lease that is free, stale, or whose owner's process is gone; None if it is held."""
    host, boot = socket.gethostname(), boot_id()
    with connection.transaction():
        connection.execute(
            "INSERT INTO market.leases (name) VALUES (%s) ON CONFLICT DO NOTHING", (name,)
        )
        row = connection.execute(
            "SELECT owner, pid, host, boot_id,"
            " coalesce(heartbeat < now() - make_interval(secs => %s), true)"
            " FROM market.leases WHERE name = %s FOR UPDATE",
            (LEASE_SECONDS, name),
        ).fetchone()
        assert row is not None
        owner, pid, at_host, at_boot, stale = row
        if owner and not stale and not _is_gone(pid, at_host, at_boot, host, boot):
            return None
        taken = connection.execute(
            "UPDATE market.leases SET epoch = epoch + 1, owner = %s, pid = %s, host = %s,"
            " boot_id = %s, heartbeat = now() WHERE name = %s RETURNING epoch",
            (f"{host}:{os.getpid()}", os.getpid(), host, boot, name),
        ).fetchone()
        assert taken is not None
        return Lease(name, taken[0])


def beat(connection: psycopg.Connection, lease: Lease) -> None:
    """Say that the owner lives; raises Fenced when the lease has a newer epoch."""
    with connection.transaction():
        hit = connection.execute(
            "UPDATE market.leases SET heartbeat = now() WHERE name = %s AND epoch = %s",
            (lease.name, lease.epoch),
        )
    if hit.rowcount != 1:
        raise Fenced(lease.name, "a newer owner holds the lease", "this process must end")


def release(connection: psycopg.Connection, lease: Lease) -> None:
    """Give the lease up, so that the next owner need not wait; a lost lease is left alone."""
    with connection.transaction():
        connection.execute(
            "UPDATE market.leases SET owner = NULL, pid = NULL, heartbeat = NULL"
            " WHERE name = %s AND epoch = %s",
            (lease.name, lease.epoch),
        )


def is_alive(pid: int | None, at_host: str, at_boot: str) -> bool:
    """Tell whether an owner may still run: its process is there, or on another machine."""
    return not _is_gone(pid, at_host, at_boot, socket.gethostname(), boot_id())


def _is_gone(pid: int | None, at_host: str, at_boot: str, host: str, boot: str) -> bool:
    """Tell whether the owner ran on this machine and its process no longer does."""
    if pid is None or at_host != host:
        return False
    if at_boot != boot:
        return True
    return not Path(f"/proc/{pid}").exists()
