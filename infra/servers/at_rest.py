"""The key with which the stack's S3 store encrypts what it writes (SSE-KMS), where there is one.

It lies in the home, away from the store's folder; whoever loses it loses what was written with it.
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

FILE = "keys/store.key"
NAME = "ticklake"
KEY_BYTES = 32
FROM_FILE, AUTO = "MINIO_KMS_SECRET_KEY_FILE", "MINIO_KMS_AUTO_ENCRYPTION"


def see_to_key(home: Path) -> Path:
    """Make a home's key (absolute path) where it has none; return its file, for its owner alone."""
    path = home / FILE
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        words = f"{NAME}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"
        new = path.with_suffix(f".{os.getpid()}.new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(words)
        new.replace(path)
    return path


def variables_of(home: Path) -> dict[str, str]:
    """Return the store's variables; none where the home has no key."""
    path = home / FILE
    return {FROM_FILE: str(path), AUTO: "on"} if path.exists() else {}
