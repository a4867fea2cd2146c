"""Anchors: the ends of the chains, signed, in the database and in the second place.

Before a chain's end is anchored its new events are hashed again and sealed: each segment holds one
event a line, its hash and its canonical text, gzipped. Anchor and segments go to the second place
first; an anchor that only lies there, since a process died, is entered into the database by the
next run. Each anchor names the digest of the one before.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from feature_repo.ledger.chain import GENESIS
from feature_repo.ledger.event_rows import CHAINS
from feature_repo.ledger.reading import hashes_after, stretches
from feature_repo.ledger.second_place import SecondPlace
from feature_repo.ledger.writer import read_heads
from lake.audit.signing import PublicKey, Signer
from lake.clock import Clock, utc_from_us
from lake.errors import Damaged

ANCHORS = "anchors"
SEGMENTS = "segments"
SEGMENT_EVENTS_MAX = 200_000
SEGMENT_LEVEL = 6
"""Of gzip: segments are kept for years."""

ANCHOR_LOCK = "market.ledger.anchor"


@dataclass(frozen=True, slots=True)
class Anchor:
    """An anchor; text: what was signed; signature: hex."""

    text: str
    signature: str
    key_id: str

    @property
    def said(self) -> dict[str, Any]:
        """Return what the text says."""
        found = json.loads(self.text)
        assert isinstance(found, dict)
        return found

    @property
    def number(self) -> int:
        """Return its number, from 1."""
        return int(self.said["number"])

    @property
    def digest(self) -> str:
        """Return what the next anchor names this one by."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def line(self) -> str:
        """Return it in words."""
        ends = self.said["chains"]
        words = ", ".join(f"{chain} {ends[chain]['last_id']:,}" for chain in CHAINS)
        return f"anchor {self.number:,} of {self.said['anchored_at']}: {words}"

    def file(self) -> bytes:
        """Return its file in the second place."""
        said = {"anchor": self.text, "signature": self.signature, "key": self.key_id}
        return json.dumps(said, sort_keys=True).encode() + b"\n"


def name_of(number: int) -> str:
    """Return the name of an anchor's file."""
    return f"{ANCHORS}/{number:08}.json"


def anchor_in(file: bytes, name: str) -> Anchor:
    """Return the anchor of a file; Damaged where it is none."""
    try:
        said = json.loads(file)
        found = Anchor(said["anchor"], said["signature"], said["key"])
        assert isinstance(found.said["chains"], dict)
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise Damaged(name, "is no anchor", "restore it, or find who wrote it") from error
    return found


def anchors_of(connection: psycopg.Connection) -> list[Anchor]:
    """Return the anchors of the database, oldest first."""
    query = "SELECT document, signature, key_id FROM market.ledger_anchors ORDER BY number"
    return [Anchor(*row) for row in connection.execute(query)]


def make_anchor(dsn: str, place: SecondPlace, signer: Signer, clock: Clock) -> Anchor | None:
    """Seal and anchor what is new; None where nothing is.

    Raises Damaged where events since the last anchor are not what was written.
    """
    with psycopg.connect(dsn) as connection, connection.transaction():
        lock = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
        connection.execute(lock, (ANCHOR_LOCK,))
        last = _last(connection, place, signer.public)
        heads = read_heads(connection)
        before = last.said["chains"] if last else {}
        ends = {
            chain: {"last_id": heads[chain].last_id, "hash": heads[chain].hash} for chain in CHAINS
        }
        if ends == {chain: before.get(chain, _NOTHING) for chain in CHAINS}:
            return None
        segments = [
            sealed
            for chain in CHAINS
            for sealed in _seal(dsn, place, chain, before.get(chain, _NOTHING), ends[chain])
        ]
        now = utc_from_us(clock.now_us())
        document = {
            "number": last.number + 1 if last else 1,
            "previous": last.digest if last else "",
            "anchored_at": now.isoformat(timespec="microseconds"),
            "chains": ends,
            "segments": segments,
        }
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        made = Anchor(text, signer.sign(text), signer.public.id)
        place.put(name_of(made.number), made.file())
        _enter(connection, made)
    return made


_NOTHING = {"last_id": 0, "hash": GENESIS}
_CHANGED = ("are not what was written", "see: ticklake ledger verify")


def _last(connection: psycopg.Connection, place: SecondPlace, public: PublicKey) -> Anchor | None:
    """Return the last anchor; enters one that lies in the second place alone."""
    known = anchors_of(connection)
    last = known[-1] if known else None
    try:
        name = name_of(last.number + 1 if last else 1)
        waiting = anchor_in(place.get(name), name)
    except FileNotFoundError:
        return last
    if not public.is_signed(waiting.text, waiting.signature):
        raise Damaged(name, "was not signed by our key", "see: ticklake ledger verify")
    _enter(connection, waiting)
    return waiting


def _enter(connection: psycopg.Connection, anchor: Anchor) -> None:
    at = datetime.fromisoformat(anchor.said["anchored_at"])
    connection.execute(
        "INSERT INTO market.ledger_anchors VALUES (%s, %s, %s, %s, %s)",
        (anchor.number, at, anchor.text, anchor.signature, anchor.key_id),
    )


def _seal(
    dsn: str,
    place: SecondPlace,
    chain: str,
    after: dict[str, Any],
    upto: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    """Put the events of a chain after one end up to another into the second place, in pieces."""
    first, before = int(after["last_id"]) + 1, str(after["hash"])
    while first <= upto["last_id"]:
        last = min(first + SEGMENT_EVENTS_MAX - 1, upto["last_id"])
        lines: list[bytes] = []
        for stretch in stretches(dsn, chain, first, last):
            count = len(lines)
            wanted = list(range(first + count, first + count + len(stretch.ids)))
            if stretch.ids != wanted or hashes_after(before, stretch.texts) != stretch.hashes:
                raise Damaged(f"events of {chain} from {wanted[0]:,} on", *_CHANGED)
            before = stretch.hashes[-1]
            pairs = zip(stretch.hashes, stretch.texts, strict=True)
            lines += [b"%s\t%s\n" % (hash_.encode(), text) for hash_, text in pairs]
        if len(lines) != last + 1 - first or (last == upto["last_id"] and before != upto["hash"]):
            raise Damaged(f"events of {chain} to {last:,}", *_CHANGED)
        content = gzip.compress(b"".join(lines), SEGMENT_LEVEL, mtime=0)
        digest = hashlib.sha256(content).hexdigest()
        name = f"{SEGMENTS}/{chain}-{first:012}-{last:012}.gz"
        place.put(name, content)
        yield {
            "name": name,
            "chain": chain,
            "first_id": first,
            "last_id": last,
            "sha256": digest,
        }
        first = last + 1
