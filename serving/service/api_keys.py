"""Keys of the service's callers: a file of the home that holds their hashes, never the keys.

A key is tlk_ID_SECRET; the secret has 256 bits of the machine's randomness, so one SHA-256 of it is
as good as a slow hash: there is nothing to guess from. Who reads the file can't call the service.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import orjson

from lake.clock import Clock
from lake.errors import BadInput, WrongUse

Role = Literal["read", "trade", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Each may do what those before it may. read: look, predict; trade: place and cancel orders, stop
trading; admin: let trading go on."""

FILE = "keys/service.json"
PREFIX = "tlk"
ID_BYTES = 6
SECRET_BYTES = 32
KEYS_MAX = 1_000
NAME_CHARACTERS_MAX = 100


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the file has it. hash: SHA-256 of the secret, hex; times in UTC microseconds."""

    id: str
    name: str
    role: Role
    hash: str
    created_us: int
    revoked_us: int | None = None

    def may(self, role: Role) -> bool:
        """Tell whether it may do what needs this role."""
        return ROLES.index(self.role) >= ROLES.index(role)


class KeyBook:
    """Keys of one home; a change of the file holds from the next call on."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._path = home / FILE
        self._clock = clock
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[str, ApiKey] = {}

    def add(self, name: str, role: Role) -> tuple[ApiKey, str]:
        """Make a key; return it, and the words that its holder calls with, kept nowhere."""
        if not 0 < len(name) <= NAME_CHARACTERS_MAX or not name.isprintable():
            fault = "is empty, too long or not printable"
            raise WrongUse("name of a key", fault, f"say whose it is, in {NAME_CHARACTERS_MAX}")
        with self._changing() as known:
            if len(known) >= KEYS_MAX:
                raise WrongUse(f"{KEYS_MAX} keys", "are enough", f"remove lines of {self._path}")
            key_id, secret = secrets.token_hex(ID_BYTES), secrets.token_hex(SECRET_BYTES)
            made = ApiKey(key_id, name, role, _hash(secret), self._clock.now_us())
            known[made.id] = made
        return made, f"{PREFIX}_{made.id}_{secret}"

    def revoke(self, key_id: str) -> ApiKey:
        """End a key, at once and for good; WrongUse where there is none of that id."""
        with self._changing() as known:
            found = known.get(key_id)
            if found is None:
                raise WrongUse(f"key {key_id}", "is not there", "see: ticklake keys list")
            if found.revoked_us is None:
                known[key_id] = replace(found, revoked_us=self._clock.now_us())
            return known[key_id]

    def keys(self) -> list[ApiKey]:
        """Return all, revoked ones too, the oldest first; BadInput for a file that is none."""
        self._look()
        return sorted(self._keys.values(), key=lambda each: each.created_us)

    def holder(self, words: str) -> ApiKey | None:
        """Return whose key this is; None for one that is unknown or revoked."""
        self._look()
        prefix, _, rest = words.partition("_")
        key_id, _, secret = rest.partition("_")
        found = self._keys.get(key_id)
        given = _hash(secret)
        # compared even where no such id is: the time an answer takes says nothing
        same = hmac.compare_digest(found.hash if found else _hash(""), given)
        if found is None or not same or prefix != PREFIX or found.revoked_us is not None:
            return None
        return found

    def is_in_use(self, key: ApiKey) -> bool:
        """Tell whether a key that was let in still is one; a list that can't be read has none."""
        try:
            self._look()
        except (BadInput, OSError):
            return False
        return self._keys.get(key.id) == key

    def _look(self) -> None:
        """Read the file if it changed."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._seen, self._keys = None, {}
            return
        seen = (found.st_mtime_ns, found.st_ino, found.st_size)
        if seen == self._seen:
            return
        try:
            rows = orjson.loads(self._path.read_bytes())
            self._keys = {row["id"]: ApiKey(**row) for row in rows}
        except (orjson.JSONDecodeError, TypeError, KeyError) as error:
            fault = "is no list of keys"
            raise BadInput(f"keys {self._path}", fault, "restore it, or remove it") from error
        self._seen = seen

    @contextmanager
    def _changing(self) -> Iterator[dict[str, ApiKey]]:
        """Give the keys to be changed, and write them; one process at a time."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._look()
            known = dict(self._keys)
            yield known
            new = self._path.with_suffix(".new")
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(orjson.dumps([asdict(each) for each in known.values()]))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
