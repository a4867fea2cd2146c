"""Where backups rest: base backups and the database's log, in a folder or a bucket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from infra.servers.account import Account
from lake.clock import Clock

ARCHIVING = {
    "wal_level": "replica",
    "max_wal_senders": "4",
    "archive_mode": "on",
    "archive_timeout": "60s",
}
"""The log is archived segment by segment, and at least once a minute while there is any: what a
disk takes with it is a minute at most."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A completed base backup; times are UTC. A restore goes to any moment at or after ended_at."""

    name: str
    began_at: datetime
    ended_at: datetime


class Source(Protocol):
    """The server that is backed up, or brought back, as a place of backups sees it."""

    @property
    def data(self) -> Path:
        """Return its data folder, where a base backup is unpacked."""

    def account(self) -> Account:
        """Return the account that its files belong to."""

    def reached_by(self) -> Sequence[str]:
        """Return the words by which its programs reach it; Unavailable when it is not up."""

    def run(self, program: str, *words: str, seconds_max: float) -> None:
        """Run one of its programs to the end; Unavailable when it fails."""


class Place(Protocol):
    """A place of backups."""

    def settings(self) -> Mapping[str, str]:
        """Return the server's settings that archive its log here."""

    def ship(self) -> str | None:
        """Bring what the server has archived to where it rests; return the last segment's file."""

    def restore_command(self, beside: Path) -> str:
        """Return what fetches a segment of the log; beside: where the last server's own lie."""

    def take(self, server: Source, clock: Clock) -> Backup:
        """Take a base backup; it counts once it is whole. Raises Unavailable."""

    def backups(self) -> list[Backup]:
        """Return the completed ones, oldest first."""

    def fetch(self, backup: Backup, server: Source) -> None:
        """Make the data folder of a server anew from a base backup. Raises Damaged."""

    def forget(self, gone: list[Backup], oldest_kept: Backup, server: Source) -> None:
        """Delete base backups, and the log that only they need."""


def name_of(began_at: datetime) -> str:
    """Return a backup's name, by the second: 20261125T161500Z."""
    return f"{began_at:%Y%m%dT%H%M%SZ}"


def expendable(backups: list[Backup], since: datetime) -> list[Backup]:
    """Return those that no restore to `since` or later needs; backups are oldest first.

    The newest that had ended by then is where such a restore begins.
    """
    ended = [each for each in backups if each.ended_at <= since]
    return ended[:-1]
