"""Become another user, then the program: `python -I become.py UID GID CAPABILITY USR PROGRAM...`.

CAPABILITY is the number of the one that is kept, or - for none. USR is the /usr of another Debian,
which the program sees in the place of this machine's, or - for ours. A program of its own, because
a process with threads must not run Python between fork and exec.
"""

from __future__ import annotations

import ctypes
import os
import sys

CAPABILITY_VERSION_3 = 0x20080522
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_BIND = 4096
MS_REC = 1 << 14
MS_PRIVATE = 1 << 18


def main(words: list[str]) -> None:
    """Become the user of these words, and run the program that follows."""
    uid, gid, capability, usr, *program = words
    root = os.geteuid() == 0
    if usr != "-":
        lay_over_usr(usr)
    if root:
        become(int(uid), int(gid), None if capability == "-" else int(capability))
    os.execv(program[0], program)


def lay_over_usr(usr: str) -> None:
    """Put another /usr over ours, for this process and its children only.

    It has its own libraries and loader, so its programs run as they do where they come from; all
    other folders stay. Without root, in a user namespace, in which we stay who we are.
    """
    libc, uid, gid = ctypes.CDLL(None, use_errno=True), os.geteuid(), os.getegid()
    if uid == 0:
        check(libc.unshare(CLONE_NEWNS))
    else:
        check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS))
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    check(libc.mount(os.fsencode(usr), b"/usr", None, MS_BIND | MS_REC, None))


def become(uid: int, gid: int, capability: int | None) -> None:
    """Give up root for this user, with at most one capability left."""
    libc = ctypes.CDLL(None, use_errno=True)
    if capability is not None:
        check(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if capability is not None:
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        bit = 1 << capability
        sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
        check(libc.capset(header, sets))
        check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0))


def check(result: int) -> None:
    """Raise OSError when a system call said no."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        sys.exit(f"become: {error}")
