"""A line for every write that was asked of the service, before it is done and after.

Each line holds the SHA-256 of the one before it, so that one which is changed, taken out or put in
shows; the last lines may be cut off unseen, and the order ledger is what is proven. A write whose
line can't be kept is not done; only trading is stopped all the same (see gate).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from lake.clock import Clock
from lake.errors import DiskFull

FILE = "log/service-writes.jsonl"
TAIL_BYTES = 64 * 1024
WORDS_CHARACTERS_MAX = 1_000
"""Of each thing that a line says; a path or query that is longer is cut, and its length said."""

NOTHING = "0" * 64


class WriteAudit:
    """Appends to one file; several threads may use it."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.path = home / FILE
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, said: Mapping[str, Any]) -> None:
        """Write a line, with the time and the hash before; on the disk when this returns.

        Texts beyond WORDS_CHARACTERS_MAX are cut. Raises DiskFull where it can't be written.
        """
        with self._lock:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX)
                try:
                    self._write(said)
                finally:
                    fcntl.flock(self._file, fcntl.LOCK_UN)
            except OSError as error:
                fault = f"can't be written ({error.strerror})"
                raise DiskFull(f"audit {self.path}", fault, "make room") from error

    def _write(self, said: Mapping[str, Any]) -> None:
        """Write a line behind the last, which may be another service's."""
        size, before = os.fstat(self._file).st_size, _last_hash(self.path)
        short = {name: _short(each) for name, each in said.items()}
        line = orjson.dumps({"at_us": self._clock.now_us(), **short, "before": before}) + b"\n"
        if os.write(self._file, line) != len(line):
            os.ftruncate(self._file, size)  # a part of a line would look forged
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def first_fault(path: Path) -> int | None:
    """Return the number, from 1, of the first line that does not follow the one before it."""
    before = NOTHING
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                said = orjson.loads(line)
            except orjson.JSONDecodeError:
                return number
            if not isinstance(said, dict) or said.get("before") != before:
                return number
            before = hashlib.sha256(line.rstrip(b"\n")).hexdigest()
    return None


def _short(said: Any) -> Any:
    if not isinstance(said, str) or len(said) <= WORDS_CHARACTERS_MAX:
        return said
    return f"{said[:WORDS_CHARACTERS_MAX]}… cut, of {len(said)} characters"


def _last_hash(path: Path) -> str:
    """Return the hash of the last line, however long it is."""
    size, tail_bytes = path.stat().st_size, TAIL_BYTES
    with path.open("rb") as file:
        while True:
            file.seek(max(0, size - tail_bytes))
            lines = file.read().splitlines()
            if len(lines) > 1 or tail_bytes >= size:
                break
            tail_bytes *= 2
    return hashlib.sha256(lines[-1]).hexdigest() if lines else NOTHING
