"""Whether events are as they were written: hashes computed anew, held against the anchors.

An edited, deleted, inserted or reordered event breaks the chain. Whoever computes the whole chain
anew after it can't sign the anchors: a chain must pass through each of them, and not end before.
What came after the last anchor is held by the chain alone.
"""

from __future__ import annotations

import gzip
import hashlib
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import psycopg

from feature_repo.ledger.anchor import ANCHORS, Anchor, anchor_in, anchors_of, name_of
from feature_repo.ledger.chain import GENESIS
from feature_repo.ledger.event_rows import CHAINS
from feature_repo.ledger.reading import Stretch, hashes_after, stretches
from feature_repo.ledger.second_place import SecondPlace
from feature_repo.ledger.writer import read_heads
from lake.audit.signing import PublicKey
from lake.errors import Damaged

FAULTS_MAX = 100
"""Faults of a chain that are named; the rest would say the same."""


@dataclass(slots=True)
class Verified:
    """What a check found. events: read of both chains; anchored: of them behind an anchor."""

    events: int = 0
    anchored: int = 0
    anchors: list[Anchor] = field(default_factory=list)
    segments: int = 0
    segment_bytes: int = 0
    faults: list[str] = field(default_factory=list)


def verify(dsn: str, place: SecondPlace, public: PublicKey, *, segments: bool = False) -> Verified:
    """Check both chains, every anchor, and with segments every sealed segment's bytes.

    Anchors count as they lie in the second place, if signed by the key: give a public key that was
    kept where the writers of the database can't change it.
    """
    found = Verified()
    found.anchors = _anchors(place, public, found.faults)
    with psycopg.connect(dsn) as connection:
        found.faults += _anchor_faults(connection, found.anchors)
        heads = {chain: head.last_id for chain, head in read_heads(connection).items()}
    for chain in CHAINS:
        ends = {
            int(each.said["chains"][chain]["last_id"]): each for each in reversed(found.anchors)
        }
        ends.pop(0, None)
        walk = _Walk(chain, ends)
        found.faults += islice(walk.faults(dsn, heads[chain]), FAULTS_MAX)
        found.events += walk.events
        found.anchored += max(ends, default=0)
    for anchor in found.anchors if segments else ():
        for said in anchor.said["segments"]:
            size, fault = _segment(place, said)
            found.segments += 1
            found.segment_bytes += size
            found.faults += [fault] if fault else []
    return found


def chain_faults(dsn: str, chain: str, anchors: Mapping[int, Anchor] | None = None) -> list[str]:
    """Return what is wrong with one chain by itself, without the end that its head names."""
    return list(islice(_Walk(chain, anchors or {}).faults(dsn, None), FAULTS_MAX))


class _Walk:
    """One reading of a chain. ends: the id of an anchored end -> its anchor."""

    def __init__(self, chain: str, ends: Mapping[int, Anchor]) -> None:
        self._chain = chain
        self._ends = deque(sorted(ends.items()))
        self.events = 0
        self._next = 1
        self._before = GENESIS

    def faults(self, dsn: str, head: int | None) -> Iterator[str]:
        """Yield what is wrong; head: the last id that the table of heads names."""
        for stretch in stretches(dsn, self._chain):
            self.events += len(stretch.ids)
            yield from self._stretch_faults(stretch)
        end = self._next - 1
        if self._ends:
            anchored, anchor = self._ends[-1]
            yield (
                f"{self._chain}: ends at event {end:,}, but anchor {anchor.number:,} names"
                f" {anchored:,}: what lies between is cut off"
            )
        if head is not None and end < head:
            yield f"{self._chain}: ends at event {end:,}, but its head is {head:,}"

    def _stretch_faults(self, stretch: Stretch) -> Iterator[str]:
        wanted = range(self._next, self._next + len(stretch.ids))
        is_whole = stretch.ids[-1] == wanted[-1] and stretch.ids == list(wanted)
        if not is_whole or hashes_after(self._before, stretch.texts) != stretch.hashes:
            yield from self._broken(stretch)
        while self._ends and self._ends[0][0] <= stretch.ids[-1]:
            anchored, anchor = self._ends.popleft()
            place = bisect_left(stretch.ids, anchored)
            is_there = place < len(stretch.ids) and stretch.ids[place] == anchored
            if is_there and stretch.hashes[place] != anchor.said["chains"][self._chain]["hash"]:
                yield (
                    f"{self._chain}: event {anchored:,} is not the one that anchor"
                    f" {anchor.number:,} names: the chain was made anew"
                )
        self._next = stretch.ids[-1] + 1
        self._before = stretch.hashes[-1]

    def _broken(self, stretch: Stretch) -> Iterator[str]:
        """Yield each place where the chain breaks; after it, what is stored counts."""
        before, wanted = self._before, self._next
        for event_id, text, stored in zip(stretch.ids, stretch.texts, stretch.hashes, strict=True):
            if event_id > wanted:
                yield f"{self._chain}: events {wanted:,} to {event_id - 1:,} are gone"
            elif event_id < wanted:
                yield f"{self._chain}: event {event_id:,} is there twice"
            if hashes_after(before, [text]) != [stored]:
                yield (
                    f"{self._chain}: event {event_id:,} is not what was written, or does not"
                    " follow the one before it"
                )
            before, wanted = stored, event_id + 1


def _anchors(place: SecondPlace, public: PublicKey, faults: list[str]) -> list[Anchor]:
    """Return the anchors of the second place that are signed and follow each other."""
    found: list[Anchor] = []
    for number, name in enumerate(place.names(ANCHORS), 1):
        try:
            anchor = anchor_in(place.get(name), name)
        except Damaged as error:
            faults.append(str(error))
            continue
        if name != name_of(number):
            faults.append(f"anchor {number:,}: is missing in {place.words}")
            return found
        if not public.is_signed(anchor.text, anchor.signature):
            faults.append(f"anchor {number:,}: its signature is not by key {public.id}")
            continue
        if anchor.said["previous"] != (found[-1].digest if found else ""):
            faults.append(f"anchor {number:,}: does not follow the one before it")
        found.append(anchor)
    return found


def _anchor_faults(connection: psycopg.Connection, anchors: list[Anchor]) -> Iterator[str]:
    """Yield where the database's anchors and those of the second place differ."""
    known = {each.number: each for each in anchors_of(connection)}
    placed = {each.number: each for each in anchors}
    for number in sorted(known.keys() | placed.keys()):
        if number not in placed:
            yield f"anchor {number:,}: is in the database and not in the second place"
        elif number not in known:
            # One that a process put there last, before it died, is entered by the next anchor.
            if number < max(placed):
                yield f"anchor {number:,}: is gone from the database"
        elif known[number] != placed[number]:
            yield f"anchor {number:,}: the database has another than the second place"


def _segment(place: SecondPlace, said: Mapping[str, Any]) -> tuple[int, str]:
    """Return the bytes of a segment, and what is wrong with it."""
    name = f"segment {said['name']}"
    try:
        content = place.get(str(said["name"]))
    except FileNotFoundError:
        return 0, f"{name}: is gone from {place.words}"
    if hashlib.sha256(content).hexdigest() != said["sha256"]:
        return len(content), f"{name}: is not what was sealed"
    if gzip.decompress(content).count(b"\n") != said["last_id"] - said["first_id"] + 1:
        return len(content), f"{name}: does not hold the events it names"
    return len(content), ""
