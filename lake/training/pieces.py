"""Cut probes into pieces that fit the memory: neighbouring keys, or a stretch of one's time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lake.training.feature_table import FeatureTable
from lake.training.join import Piece

PROBE_BYTES = 256
VALUE_BYTES = 64
"""What a row takes beside its features, and a value without them: keys, labels, times, sorts."""

FEATURE_BYTES = 8
PIECES_OF_ONE_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Span:
    """Rows of one key, and their first and last time in microseconds, both inclusive."""

    rows: int
    first_us: int
    last_us: int


def pieces(
    probes: Mapping[str, Span],
    held: Sequence[Mapping[str, int]],
    tables: Sequence[FeatureTable],
    bytes_max: int,
) -> Iterator[Piece]:
    """Yield pieces that hold every probe once, by first key and time.

    bytes_max: at least 1;
    held: of each table, how many values the probes of a key can have.
    """
    group: list[str] = []
    taken = 0
    for key in sorted(probes):
        size = _bytes(key, probes[key], held, tables)
        if group and taken + size > bytes_max:
            yield _piece(group, probes)
            group, taken = [], 0
        if size > bytes_max:
            yield from _stretches(key, probes[key], -(-size // bytes_max))
            continue
        group.append(key)
        taken += size
    if group:
        yield _piece(group, probes)


def _stretches(key: str, span: Span, count: int) -> Iterator[Piece]:
    """Yield equal stretches of one key's time; each reads the ttl before it once more."""
    end_us = span.last_us + 1
    count = min(count, PIECES_OF_ONE_MAX, end_us - span.first_us)
    edges = [span.first_us + (end_us - span.first_us) * n // count for n in range(count + 1)]
    for from_us, to_us in pairwise(edges):
        yield Piece((key,), from_us, to_us)


def _piece(keys: Sequence[str], probes: Mapping[str, Span]) -> Piece:
    first = min(probes[key].first_us for key in keys)
    return Piece(tuple(keys), first, max(probes[key].last_us for key in keys) + 1)


def _bytes(
    key: str, span: Span, held: Sequence[Mapping[str, int]], tables: Sequence[FeatureTable]
) -> int:
    features = sum(len(table.columns) for table in tables)
    values = sum(found.get(key, 0) for found in held)
    return span.rows * (PROBE_BYTES + features * FEATURE_BYTES) + values * VALUE_BYTES
