"""Results of audits: signed, each naming the digest of the one before, kept in two places.

In market.audits and in a folder: `000001.json` is the text that was signed, `000001.sig` the
signature's bytes, which `openssl pkeyutl -verify -rawin` reads. An edited, inserted or removed
result breaks a signature or the chain; a removed last one is still in the other place. A file
whose name ends in `.new` is of a run that was cut off: it counts where the database has its text.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from lake.audit.signing import PublicKey, Signer
from lake.steps import Steps
from lake.tables.warehouse_io import sync_folder

KEEP_LOCK = 0x7469636B_6B656570
"""Key of the advisory lock under which a result gets its number ("tickkeep"): audits of the lake
and of orders make one chain."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A kept result; text: what was signed; signature: hex."""

    number: int
    ran_at: datetime
    holds: bool
    text: str
    signature: str
    key_id: str

    @property
    def digest(self) -> str:
        """Return what the next result names this one by."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def document(self) -> dict[str, Any]:
        """Return what the text says."""
        found = json.loads(self.text)
        assert isinstance(found, dict)
        return found

    def line(self) -> str:
        """Return it in words."""
        said = self.document
        word = "holds" if self.holds else f"{len(said['faults']):,} faults"
        return (
            f"{self.number:6} {self.ran_at:%Y-%m-%d %H:%M} UTC  {word:10} {said['files']:,} files,"
            f" {said['bytes']:,} bytes, {said['events']:,} events"
        )


def kept_results(connection: psycopg.Connection) -> list[Kept]:
    """Return the results of the database, oldest first."""
    rows = connection.execute(
        "SELECT number, ran_at, holds, result, signature, key_id FROM market.audits ORDER BY number"
    )
    return [Kept(*row) for row in rows]


def keep(
    connection: psycopg.Connection,
    folder: Path,
    signer: Signer,
    document: Mapping[str, Any],
    ran_at: datetime,
    *,
    tell: Callable[[psycopg.Connection], None] = lambda connection: None,
    steps: Steps | None = None,
) -> Kept:
    """Number, chain, sign and keep a result; who comes at the same time is the next in the chain.

    tell: writes what goes with the result, in its transaction. Whoever is killed leaves no result,
    or a whole one: its files have another name until the database has it, and get their own from
    this call or from the next one.
    """
    steps = steps or Steps()
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (KEEP_LOCK,))
        before = kept_results(connection)
        last = before[-1] if before else None
        if last is not None:
            _name_files(folder, last.number)
        number = last.number + 1 if last else 1
        chained = {**document, "number": number, "previous": last.digest if last else ""}
        text = json.dumps(chained, sort_keys=True, separators=(",", ":"), default=str)
        made = Kept(
            number, ran_at, bool(document["holds"]), text, signer.sign(text), signer.public.id
        )
        connection.execute(
            "INSERT INTO market.audits VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                *(number, ran_at, made.holds, document["files"], document["bytes"]),
                *(len(document["faults"]), text, made.signature, made.key_id),
            ),
        )
        tell(connection)
        # Inside the transaction: what the database has, the folder has too.
        _write_files(folder, made)
        steps.at("audit.written")
    steps.at("audit.kept")
    _name_files(folder, number)
    return made


def faults_of_results(
    connection: psycopg.Connection, folder: Path, public: PublicKey
) -> Iterator[str]:
    """Yield what is wrong with the kept results; nothing where all are as they were signed."""
    known = kept_results(connection)
    previous = ""
    for place, each in enumerate(known, 1):
        name = f"audit {each.number}"
        if each.number != place:
            yield f"{name}: result {place} is missing"
            return
        if not public.is_signed(each.text, each.signature):
            yield f"{name}: its signature is not of this text by key {public.id}"
            return
        said = each.document
        if (said["number"], said["previous"]) != (each.number, previous):
            yield f"{name}: does not follow the one before it"
        if said["holds"] != each.holds:
            yield f"{name}: the table says {each.holds}, the signed text {said['holds']}"
        yield from _file_faults(folder, each)
        previous = each.digest
    numbers = {f"{each.number:06}" for each in known}
    for path in sorted(folder.glob("*.json")):
        if path.stem not in numbers:
            yield f"{path.name}: is in the folder and not in the database"


def _write_files(folder: Path, made: Kept) -> None:
    """Write a result under the names of one that the database may not have."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, content in (("json", made.text.encode()), ("sig", bytes.fromhex(made.signature))):
        with _unnamed(folder, made.number, suffix).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder)


def _name_files(folder: Path, number: int) -> None:
    """Give a result's files their names, once the database has it."""
    found = [
        (path, _path(folder, number, suffix))
        for suffix in ("json", "sig")
        if (path := _unnamed(folder, number, suffix)).exists()
    ]
    for path, named in found:
        path.replace(named)
    if found:
        sync_folder(folder)


def _file_faults(folder: Path, each: Kept) -> Iterator[str]:
    path = _path(folder, each.number, "json")
    unnamed = _unnamed(folder, each.number, "json")
    if not path.exists() and not unnamed.exists():
        yield f"{path.name}: is gone from {folder}"
        return
    if (path if path.exists() else unnamed).read_text(encoding="utf-8") != each.text:
        yield f"{path.name}: is not what the database has"


def _path(folder: Path, number: int, suffix: str) -> Path:
    return folder / f"{number:06}.{suffix}"


def _unnamed(folder: Path, number: int, suffix: str) -> Path:
    return folder / f"{number:06}.{suffix}.new"
