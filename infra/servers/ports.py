"""Ports of this machine."""

from __future__ import annotations

import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
FIRST = 10_240
TRIES_MAX = 100
HANDED_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""Ports that the system gives to outgoing connections: one of them may be a connection's when its
server comes back, and stays closed to it for a minute more."""


def is_free(port: int, address: str = LOOPBACK) -> bool:
    """Say whether nothing listens on this port of an address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def choose(wanted: int | None, address: str = LOOPBACK) -> int:
    """Return the wanted port when it is free, else one that is, below those of connections."""
    if wanted is not None and is_free(wanted, address):
        return wanted
    end, any_of_ours = _first_handed_out(), random.SystemRandom()
    for _ in range(TRIES_MAX if end > FIRST else 0):
        port = any_of_ours.randrange(FIRST, end)
        if is_free(port, address):
            return port
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _first_handed_out() -> int:
    """Return the first of the ports of connections; 0 where nobody says."""
    try:
        return int(HANDED_OUT.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0
