"""Who a server runs as: PostgreSQL refuses to be root."""

from __future__ import annotations

import os
import pwd
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from lake.errors import BadInput

NAMES = ("ticklake", "nobody")
"""Taken when we are root: the first that exists. An operator may add the first."""

CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2


@dataclass(frozen=True)
class Account:
    """The account of a server; the words that go before its own to become it, none for ours."""

    name: str
    uid: int
    gid: int
    becoming: tuple[str, ...]

    def own(self, path: Path) -> None:
        """Hand a folder that we made to the account."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)


def account_for(*paths: Path, usr: Path | None = None) -> Account:
    """Choose the account of a server that must reach these paths.

    Root hands over to an unprivileged user. Where a folder above a path is closed to that user,
    the server keeps the one capability that lets it pass; BadInput when that is not allowed.
    usr: the /usr that its programs run on, in the place of this machine's; None: ours.
    """
    if os.geteuid() != 0:
        return as_we_are(usr)
    entry = unprivileged()
    if all(can_reach(entry, path) for path in paths):
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, becoming(entry, None, usr))
    capability = passing_capability()
    if capability is None:
        raise BadInput(
            str(paths[-1]),
            f"user {entry.pw_name} can't reach it, and PostgreSQL refuses to run as root",
            "use a --home below folders that all may enter, or run as another user",
        )
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, becoming(entry, capability, usr))


def as_we_are(usr: Path | None = None) -> Account:
    """Return our own account; BadInput when it has no name, which initdb insists on."""
    try:
        entry = pwd.getpwuid(os.geteuid())
    except KeyError as error:
        raise BadInput(
            f"user {os.geteuid()}", "has no name in the system", "add it to /etc/passwd"
        ) from error
    words = () if usr is None else becoming(entry, None, usr)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, words)


def unprivileged() -> pwd.struct_passwd:
    """Return the account that servers get when we are root."""
    for name in NAMES:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise BadInput("root", f"none of the users {', '.join(NAMES)} exists", "useradd ticklake")


def can_reach(entry: pwd.struct_passwd, path: Path) -> bool:
    """Say whether the user may enter every folder above the path."""
    return all(may_enter(entry, parent.stat()) for parent in path.resolve().parents)


def may_enter(entry: pwd.struct_passwd, status: os.stat_result) -> bool:
    """Say whether the user may enter a folder of this status."""
    if status.st_uid == entry.pw_uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == entry.pw_gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def passing_capability() -> int | None:
    """Return the least capability that we hold and that opens closed folders."""
    lines = Path("/proc/self/status").read_text().splitlines()
    held = int(next(line.split()[1] for line in lines if line.startswith("CapPrm")), 16)
    for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE):
        if held >> capability & 1:
            return capability
    return None


def becoming(entry: pwd.struct_passwd, capability: int | None, usr: Path | None) -> tuple[str, ...]:
    """Return the words that make the program after them run as this user, on this /usr."""
    program = str(Path(__file__).with_name("become.py"))
    kept = "-" if capability is None else str(capability)
    under = "-" if usr is None else str(usr)
    return (sys.executable, "-I", program, str(entry.pw_uid), str(entry.pw_gid), kept, under)
