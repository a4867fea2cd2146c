"""Certificates of a home's servers: given by a folder, or made here by a CA of the home's own.

They lie in home/tls, each server's in the form that it reads: ca.crt, server.crt and server.key;
server.pem (both, for Trino); trust.p12 (the CA, for Java); minio/public.crt and private.key. The
CA's own key, ca.key, is there only where it was made here. Keys are their owner's to read.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from infra.servers.authority import Pair, address_in, make_ca, make_server
from infra.servers.door import ENTRY, LOCAL, MADE, OFF, Door, check, is_loopback
from infra.servers.ports import LOOPBACK
from lake.clock import Clock, utc_from_us
from lake.errors import BadInput
from lake.state import read_state, write_state

FOLDER = "tls"
FILES = ("ca.crt", "server.crt", "server.key")
TRUST_PASSWORD = "public"
"""Of a file with a certificate that anybody may read: Java wants one."""

SOMEWHERE = "192.0.2.1"
"""An address that is nobody's (RFC 5737)."""

RENEW_DAYS = 30
"""A certificate that we made is made anew by an `up` when it has less left."""


def see_to_door(home: Path, listen: str, tls: str, clock: Clock) -> Door:
    """Lay the certificates out and return the door; tls: MADE, or a folder with FILES.

    Raises BadInput for a file that is missing, no certificate, expired, signed by somebody else,
    or for none of the names that the servers are reached by.
    """
    folder = home / FOLDER
    names = lay_out(folder, names_of(listen), tls, clock)
    source = folder if tls == MADE else Path(tls).expanduser().resolve()
    return Door(listen, name_among(names, listen, source), folder)


def lay_out(folder: Path, names: Sequence[str], tls: str, clock: Clock) -> list[str]:
    """Write each server's files; return the names of the certificate. Raises as see_to_door.

    names: those for which one is made.
    """
    now = utc_from_us(clock.now_us())
    folder.mkdir(exist_ok=True)
    source = folder
    if tls == MADE:
        _make(folder, names, now)
    else:
        source = Path(tls).expanduser().resolve()
    ca, certificate, key = (_read(source / name) for name in FILES)
    held = checked(source, ca, certificate, key, now)
    _lay_out(folder, ca, certificate, key)
    return held


def set_door(home: Path, listen: str, tls: str, clock: Clock) -> None:
    """Note in a home's state where its servers listen from their next start on; "" as before.

    Raises BadInput as see_to_door and infra.servers.door.check do; nothing is changed then.
    """
    state = read_state(home)
    before = state.get(ENTRY, {})
    listen = listen or str(before.get("listen", LOOPBACK))
    tls = tls or str(before.get("source", OFF))
    check(listen, tls)
    door = LOCAL if tls == OFF else see_to_door(home, listen, tls, clock)
    source = tls if tls in (OFF, MADE) else str(Path(tls).expanduser().resolve())
    write_state(home, {**state, ENTRY: {**door.document(), "source": source}})


def names_of(listen: str) -> list[str]:
    """Return what a server that listens there is called."""
    host = socket.gethostname()
    found = ["localhost", LOOPBACK, "::1", host, listen]
    if ip_address(listen).is_unspecified:
        with suppress(OSError):
            found += [str(each[4][0]) for each in socket.getaddrinfo(host, None)]
        found += _outward()
    named = [each.partition("%")[0] for each in found]
    return list(dict.fromkeys(each for each in named if each not in ("0.0.0.0", "::")))


def _outward() -> list[str]:
    """Return the address with which this machine goes out; nothing is sent to find it."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((SOMEWHERE, 9))
        return [str(probe.getsockname()[0])]
    return []


def name_among(names: Sequence[str], listen: str, source: Path) -> str:
    """Return the name by which our own clients reach the servers, one of the certificate's."""
    anywhere = ip_address(listen).is_unspecified
    near = [LOOPBACK, "localhost"] if anywhere or is_loopback(listen) else []
    hosts = [name for name in names if "*" not in name and address_in(name) is None]
    for name in [*near, *([] if anywhere else [listen]), *hosts]:
        if name in names:
            return name
    fault = f"is for none of the names by which servers on {listen} are reached"
    raise BadInput(str(source / "server.crt"), fault, "have it made for a host name, too")


def checked(source: Path, ca: bytes, server: bytes, key: bytes, now: datetime) -> list[str]:
    """Return the names that a certificate is for; BadInput, with the file, for one of no use."""
    issuers = _certificates(source / "ca.crt", ca)
    chain = _certificates(source / "server.crt", server)
    leaf = chain[0]
    if leaf.not_valid_after_utc <= now:
        fault = f"expired on {leaf.not_valid_after_utc:%Y-%m-%d}"
        raise BadInput(str(source / "server.crt"), fault, "renew it")
    if not any(_issued(leaf, each) for each in (*chain[1:], *issuers)):
        raise BadInput(str(source / "server.crt"), "is not signed by ca.crt", "give its own CA")
    try:
        own = serialization.load_pem_private_key(key, None).public_key()
    except (ValueError, TypeError) as error:
        fault = "is no PEM key, or has a password"
        raise BadInput(str(source / "server.key"), fault, "give it without") from error
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if own.public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise BadInput(str(source / "server.key"), "is not server.crt's", "give the right one")
    return _names_in(leaf)


def certified_names(path: Path) -> list[str]:
    """Return the names that a certificate's file is for; BadInput for what is none."""
    return _names_in(_certificates(path, _read(path))[0])


def _names_in(leaf: x509.Certificate) -> list[str]:
    with suppress(x509.ExtensionNotFound):
        said = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [
            *said.get_values_for_type(x509.DNSName),
            *(str(each) for each in said.get_values_for_type(x509.IPAddress)),
        ]
    return []


def _issued(leaf: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _certificates(path: Path, text: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError as error:
        raise BadInput(str(path), "is no PEM certificate", "give one") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        remedy = f"a folder for TICKLAKE_TLS has {', '.join(FILES)}"
        raise BadInput(str(path), str(error.strerror), remedy) from error


def _lay_out(folder: Path, ca: bytes, certificate: bytes, key: bytes) -> None:
    (folder / "minio").mkdir(exist_ok=True)
    whole = [x509.load_pem_x509_certificates(ca)[0]]
    encryption = serialization.BestAvailableEncryption(TRUST_PASSWORD.encode())
    trusted = [pkcs12.PKCS12Certificate(each, b"ca") for each in whole]
    _write(folder / "trust.p12", pkcs12.serialize_java_truststore(trusted, encryption))
    for name, text in (
        ("ca.crt", ca),
        ("server.crt", certificate),
        ("server.key", key),
        ("server.pem", key.rstrip() + b"\n" + certificate),
        ("minio/public.crt", certificate),
        ("minio/private.key", key),
    ):
        _write(folder / name, text)


def _write(path: Path, text: bytes) -> None:
    """Replace a file at once; what may hold a key is its owner's."""
    if path.exists() and path.read_bytes() == text:
        return
    mode = 0o644 if path.suffix in (".crt", ".p12") else 0o600
    new = path.with_name(f"{path.name}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(text)
    new.replace(path)


def _make(folder: Path, names: Sequence[str], now: datetime) -> None:
    """Make what is missing, too old, or for other names; the CA stays, so that clients do too."""
    paths = folder / "ca.crt", folder / "ca.key"
    if not all(path.exists() for path in paths):
        made = make_ca(f"ticklake of {socket.gethostname()}", now)
        _write(paths[1], made.key)
        _write(paths[0], made.certificate)
    ca = Pair(paths[0].read_bytes(), paths[1].read_bytes())
    with suppress(BadInput):
        parent, leaf, key = (_read(folder / name) for name in FILES)
        held = checked(folder, parent, leaf, key, now + timedelta(days=RENEW_DAYS))
        if set(names) <= set(held):
            return
    server = make_server(ca, names, now)
    _write(folder / "server.key", server.key)
    _write(folder / "server.crt", server.certificate)
