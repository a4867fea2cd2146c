"""Read a chain in order, and hash it anew, a batch of events at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import adbc_driver_postgresql.dbapi as adbc

from feature_repo.ledger.chain import SEPARATOR
from feature_repo.ledger.event_rows import text_sql

_SEPARATOR = SEPARATOR.encode()


@dataclass(frozen=True, slots=True)
class Stretch:
    """Events in the order of their ids: what stands in their rows. texts: canonical, UTF-8."""

    ids: list[int]
    texts: list[bytes]
    hashes: list[str]


def stretches(dsn: str, chain: str, first: int = 1, last: int | None = None) -> Iterator[Stretch]:
    """Yield a chain's events from one id to another, both inclusive; None: to its end."""
    upto = "" if last is None else f" AND id <= {last:d}"
    query = (
        f"SELECT id, convert_to({text_sql(chain)}, 'UTF8') AS body, hash FROM market.{chain}"
        f" WHERE id >= {first:d}{upto} ORDER BY id"
    )
    with closing(adbc.connect(dsn)) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(query)
        for batch in cursor.fetch_record_batch():
            columns = [column.to_pylist() for column in batch.columns]
            if columns[0]:
                yield Stretch(*columns)


def hashes_after(before: str, texts: Sequence[bytes]) -> list[str]:
    """Return the hash of each text, each after the one before it."""
    found = []
    sha256 = hashlib.sha256
    link = before.encode()
    for text in texts:
        made = sha256(link + _SEPARATOR + text).hexdigest()
        found.append(made)
        link = made.encode()
    return found
