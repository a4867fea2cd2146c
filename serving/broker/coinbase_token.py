"""Tokens that Coinbase's Advanced Trade API takes: a JWT for each request, signed with ES256.

https://docs.cdp.coinbase.com/coinbase-app/authentication-authorization/api-key-authentication
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from lake.errors import BadInput

LIVES_S = 120
"""What the venue allows."""

POINT_BYTES = 32
NONCE_BYTES = 16


@dataclass(frozen=True)
class ApiKey:
    """A key as the venue gives it in a file: {"name": ..., "privateKey": PEM of P-256}."""

    name: str
    private: ec.EllipticCurvePrivateKey = field(repr=False)

    def token(self, method: str, host: str, path: str, now_us: int) -> str:
        """Return the bearer token of one request; path without its query."""
        now_s = now_us // 1_000_000
        head = {"alg": "ES256", "typ": "JWT", "kid": self.name}
        body = {
            "iss": "cdp",
            "sub": self.name,
            "nbf": now_s,
            "exp": now_s + LIVES_S,
            "uri": f"{method} {host}{path}",
        }
        nonce = secrets.token_hex(NONCE_BYTES)
        signed = b".".join(_coded(orjson.dumps(each)) for each in ({**head, "nonce": nonce}, body))
        r, s = decode_dss_signature(self.private.sign(signed, ec.ECDSA(hashes.SHA256())))
        raw = r.to_bytes(POINT_BYTES, "big") + s.to_bytes(POINT_BYTES, "big")
        return (signed + b"." + _coded(raw)).decode()


def key_of(path: Path) -> ApiKey:
    """Read a key from its file; raises BadInput, which never repeats what the file holds."""
    try:
        found = orjson.loads(path.read_bytes())
        private = serialization.load_pem_private_key(found["privateKey"].encode(), None)
        name = found["name"]
    except OSError as error:
        raise BadInput(f"key {path}", str(error.strerror), "name a file we may read") from error
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        fault = "is no key of Coinbase"
        raise BadInput(f"key {path}", fault, "take the file as it was downloaded") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise BadInput(f"key {path}", "is not of type ECDSA", "make one of that type")
    return ApiKey(str(name), private)


def _coded(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
