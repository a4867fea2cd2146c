"""The live service's certificate: the home's servers', one made for it, or one of others."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from infra.servers.certificates import lay_out, names_of
from infra.servers.door import MADE, OFF, door_of
from infra.servers.ports import LOOPBACK
from lake.clock import SystemClock

FOLDER = "tls-live"
"""Where in a home a certificate of its own lies; its ca.crt is for clients."""


def folder_of(home: Path, host: str, tls: str, names: Sequence[str]) -> Path | None:
    """Return the folder of server.crt and server.key; None without TLS.

    tls: MADE, a folder, OFF, or "" for the certificate of the home's servers, where they have one.
    names: for which one is made, beside this machine's own. Raises BadInput as
    infra.servers.certificates.lay_out.
    """
    if tls == OFF:
        return None
    if not tls:
        return door_of(home).tls
    if tls != MADE:
        return Path(tls).expanduser().resolve()
    folder = home / FOLDER
    lay_out(folder, [*names_of(_address(host)), *names], MADE, SystemClock())
    return folder


def _address(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        return LOOPBACK
