"""Where a home's servers listen, and how clients come in: on loopback as they are, or by TLS.

Beyond loopback nothing is said in the clear: a server that has no TLS does not listen there.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from urllib.parse import quote

from infra.servers.ports import LOOPBACK
from lake.errors import BadInput
from lake.state import read_state

ENTRY = "door"
"""Its place in a home's state."""

OFF = "off"
MADE = "made"


@dataclass(frozen=True)
class Door:
    """listen: the address that servers bind. name: what our own clients call them, as the
    certificate does. tls: the folder that infra.servers.certificates lays out; None: no TLS.
    """

    listen: str = LOOPBACK
    name: str = LOOPBACK
    tls: Path | None = None

    @property
    def ca(self) -> Path | None:
        """Return the certificate of who vouches for the servers; None where there is no TLS."""
        return self.tls and self.tls / "ca.crt"

    @property
    def certificate(self) -> Path:
        """Return the servers' certificate."""
        return self._tls / "server.crt"

    @property
    def key(self) -> Path:
        """Return the certificate's key."""
        return self._tls / "server.key"

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return what a server that can bind several addresses binds: loopback always."""
        if is_loopback(self.listen) or IPv4Address(self.listen).is_unspecified:
            return (self.listen,)
        return (LOOPBACK, self.listen)

    @property
    def http(self) -> str:
        """Return the scheme of web addresses."""
        return "https" if self.tls else "http"

    @property
    def libpq(self) -> str:
        """Return the parameters of a libpq URI: the server must prove that it is the one meant."""
        return (
            f"?sslmode=verify-full&sslrootcert={quote(str(self.ca), safe='')}" if self.tls else ""
        )

    def trusting(self) -> ssl.SSLContext | None:
        """Return what our own sockets go in with."""
        return ssl.create_default_context(cafile=str(self.ca)) if self.tls else None

    def digest(self) -> str:
        """Return what tells this door from another, other certificates' too; no secret."""
        parts = [self.listen, self.name]
        if self.tls:
            parts += [path.read_text() for path in (self.tls / "ca.crt", self.certificate)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def document(self) -> dict[str, Any]:
        """Return it as a home's state has it."""
        return {"listen": self.listen, "name": self.name, "tls": str(self.tls) if self.tls else ""}

    @property
    def _tls(self) -> Path:
        assert self.tls is not None
        return self.tls


LOCAL = Door()
"""Loopback, without TLS: what a home begins with."""


def door_of(home: Path) -> Door:
    """Return a home's door, as the last `up` left it."""
    found: Mapping[str, Any] = read_state(home).get(ENTRY, {})
    if "listen" not in found:
        return LOCAL
    tls = Path(found["tls"]) if found.get("tls") else None
    return Door(str(found["listen"]), str(found["name"]), tls)


def is_loopback(address: str) -> bool:
    """Say whether an address is reached from this machine only."""
    return IPv4Address(address).is_loopback


def check(listen: str, tls: str) -> None:
    """Raise BadInput for what is no address, and for another than loopback's without TLS."""
    try:
        IPv4Address(listen)
    except ValueError as error:
        remedy = "write one as 0.0.0.0, 10.0.0.5 or 127.0.0.1"
        raise BadInput("TICKLAKE_LISTEN", f"{listen!r} is no IPv4 address", remedy) from error
    if tls == OFF and listen != LOOPBACK:
        raise BadInput(
            "TICKLAKE_LISTEN",
            f"{listen} is not {LOOPBACK}, and without TLS passwords would go there in the clear",
            f"set TICKLAKE_TLS={MADE}, or to a folder with ca.crt, server.crt and server.key",
        )
