"""The key that results are signed with: Ed25519, so that anybody with the public half can check.

Whoever reads the private key can sign: keep it where the lake's writers can't (TICKLAKE_AUDIT_KEY),
and a copy of the public one somewhere else.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from lake.errors import BadInput

PUBLIC_SUFFIX = ".pub.pem"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Checks signatures; id: the first half of the SHA-256 of its bytes."""

    key: Ed25519PublicKey

    @property
    def id(self) -> str:
        """Return what results name it by."""
        raw = self.key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return hashlib.sha256(raw).hexdigest()[:32]

    def is_signed(self, text: str, signature: str) -> bool:
        """Tell whether a signature (hex) is of this text, by this key's other half."""
        try:
            self.key.verify(bytes.fromhex(signature), text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs results."""

    key: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """Return the half that checks."""
        return PublicKey(self.key.public_key())

    def sign(self, text: str) -> str:
        """Return the signature of a text, in hex."""
        return self.key.sign(text.encode()).hex()


def signer_at(path: Path) -> Signer:
    """Return the signer of a private key's file, made with its public half where there is none.

    Raises BadInput for a file that is no Ed25519 key.
    """
    if not path.exists():
        _make(path)
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, OSError) as error:
        raise BadInput(str(path), "no private key without a password", "give one") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(str(path), "no Ed25519 key", "openssl genpkey -algorithm ed25519")
    return Signer(key)


def public_key_at(path: Path) -> PublicKey:
    """Return the public key of a file; BadInput when it is none."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (ValueError, OSError) as error:
        raise BadInput(str(path), "no public key", "it is made at the first audit") from error
    if not isinstance(key, Ed25519PublicKey):
        raise BadInput(str(path), "no Ed25519 key", "name the audit's public key")
    return PublicKey(key)


def public_path(path: Path) -> Path:
    """Return where the public half of a private key's file lies."""
    return path.with_name(path.name.removesuffix(".pem") + PUBLIC_SUFFIX)


def _make(path: Path) -> None:
    """Make a key and its public half where there is none by then; who comes second finds it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if not path.exists():
            _write(path)
    finally:
        os.close(folder)


def _write(path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    public_path(path).write_bytes(public)
    new = path.with_suffix(f".{os.getpid()}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    new.replace(path)
