"""Become another user, then the program: `python -I become.py UID GID CAPABILITY PROGRAM...`.

CAPABILITY is the number of the one that is kept, or - for none. A program of its own, because a
process with threads must not run Python between fork and exec.
"""

from __future__ import annotations

import ctypes
import os
import sys

CAPABILITY_VERSION_3 = 0x20080522
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2


def main(words: list[str]) -> None:
    """Become the user of these words, and run the program that follows."""
    uid, gid, capability, *program = words
    become(int(uid), int(gid), None if capability == "-" else int(capability))
    os.execv(program[0], program)


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
    main(sys.argv[1:])
