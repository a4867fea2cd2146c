"""Journal against ledger: the frames that are still kept are decoded again, independently.

Every row that decoding gives must be stored under its own seq, and its content must be what the
ledger counted; or it was dropped as redelivered, and then its key must be stored. Frames whose
segments are gone were proven before they went; frames of another version of a codec are passed by.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from lake.contracts.contract import TICK_DATASETS
from lake.errors import Damaged
from lake.feeds.codec import INDEX_BITS, Codec
from lake.ingest.redelivery import RULES
from lake.ingest.stored_keys import KEY_SQL, MARGIN_US
from lake.journal.held import held
from lake.journal.reader import JournalReader, Run
from lake.verify.hot_units import WHOLE
from lake.verify.marks import DatasetMarks
from lake.verify.reading import Reading
from lake.verify.report import Fault
from lake.verify.totals import Totals
from lake.views.union_view import union_sql

FRAMES = "frames"
"""Name of these proofs among the marks of the journal."""

STRETCH_FRAMES_MAX = 20_000
"""Frames that are decoded and compared at once, give or take a batch."""

READ_BYTES_MAX = 8 << 20


@dataclass(frozen=True, slots=True)
class Stretch:
    """Whole batches, frames first to last (inclusive), and what they say they did.

    versions: feed -> versions of its codec.
    """

    shard: int
    first: int
    last: int
    events: int
    duplicate: int
    ignored: int
    versions: Mapping[str, frozenset[int]]

    def __str__(self) -> str:
        return f"shard {self.shard} frames {self.first} to {self.last}"


@dataclass
class Derived:
    """What decoding a stretch again gives."""

    tables: defaultdict[str, list[pa.Table]] = field(default_factory=lambda: defaultdict(list))
    events: int = 0
    ignored: int = 0


def check_frames(
    reading: Reading, journal: Path, codecs: Mapping[str, Codec], marks: DatasetMarks
) -> tuple[list[Fault], DatasetMarks]:
    """Decode the kept frames beyond the marks again; return the faults and the marks that hold."""
    faults: list[Fault] = []
    for shard, last in reading.shards.items():
        directory = journal / f"shard-{shard}"
        after = marks.frames.get(shard, 0)
        for first, upto in held(directory, after, last):
            faults += prove_frames(reading, directory, shard, codecs, first - 1, upto)
    return faults, DatasetMarks(frames=dict(reading.shards))


def prove_frames(
    reading: Reading,
    directory: Path,
    shard: int,
    codecs: Mapping[str, Codec],
    after: int,
    upto: int | None = None,
) -> list[Fault]:
    """Decode a shard's whole batches within (after, upto] again and compare; return the faults.

    upto: by default the shard's last committed frame. Decoded frames must still be in directory.
    """
    faults: list[Fault] = []
    reader = JournalReader(directory, shard, known_frame=reading.shards[shard])
    try:
        for stretch in _stretches(reading, shard, after, upto or reading.shards[shard]):
            if not _same_codecs(stretch, codecs):
                continue
            derived = _derive(reader, codecs, stretch)
            faults += [
                Fault("journal", FRAMES, str(directory), f"{stretch}: {what}")
                for what in _differences(reading, stretch, derived)
            ]
    except Damaged as error:
        faults.append(Fault("journal", FRAMES, error.thing, error.fault, remedy=error.remedy))
    finally:
        reader.close()
    return faults


def _stretches(reading: Reading, shard: int, after: int, upto: int) -> Iterator[Stretch]:
    rows = reading.hot(
        "SELECT first_frame, last_frame, feed, codec_version, events, duplicate, ignored "
        f"FROM market.ingest_batches WHERE shard = {shard} AND first_frame > {after} "
        f"AND last_frame <= {upto} ORDER BY first_frame, feed"
    )
    taken: list[tuple[int, int, str, int, int, int, int]] = []
    for row in rows:
        new_batch = bool(taken) and row[0] != taken[-1][0]
        if new_batch and row[1] - taken[0][0] >= STRETCH_FRAMES_MAX:
            yield _stretch(shard, taken)
            taken = []
        taken.append((row[0], row[1], row[2], row[3], row[4], row[5], row[6]))
    if taken:
        yield _stretch(shard, taken)


def _stretch(shard: int, rows: list[tuple[int, int, str, int, int, int, int]]) -> Stretch:
    versions: defaultdict[str, set[int]] = defaultdict(set)
    for _, _, feed, version, *_ in rows:
        versions[feed].add(version)
    return Stretch(
        shard,
        rows[0][0],
        rows[-1][1],
        sum(row[4] for row in rows),
        sum(row[5] for row in rows),
        sum(row[6] for row in rows),
        {feed: frozenset(found) for feed, found in versions.items()},
    )


def _same_codecs(stretch: Stretch, codecs: Mapping[str, Codec]) -> bool:
    return all(
        feed in codecs and versions == {codecs[feed].version}
        for feed, versions in stretch.versions.items()
    )


def _derive(reader: JournalReader, codecs: Mapping[str, Codec], stretch: Stretch) -> Derived:
    derived = Derived()
    frame = stretch.first
    while frame <= stretch.last:
        # No further than the stretch: what comes after it may be lost, which is not its fault.
        left = min(stretch.last - frame + 1, STRETCH_FRAMES_MAX)
        runs = reader.read(frame, frames_max=left, bytes_max=READ_BYTES_MAX)
        if not runs:
            raise Damaged(
                str(reader.directory), f"frame {frame} is committed but not durable", "restore it"
            )
        for run in runs:
            if run.frames.first_frame <= stretch.last:
                _decode(run, codecs, stretch.last, derived)
        frame = runs[-1].frames.last_frame + 1
    return derived


def _decode(run: Run, codecs: Mapping[str, Codec], last: int, derived: Derived) -> None:
    frames = run.frames.slice(0, min(len(run.frames), last - run.frames.first_frame + 1))
    if run.control:
        derived.events += len(frames)
        derived.ignored += len(frames)
        return
    decoded = codecs[run.feed].decode(frames)
    derived.events += decoded.events
    derived.ignored += sum(decoded.ignored.values())
    for dataset, rows in decoded.tables.items():
        derived.tables[dataset].append(rows)
    derived.tables["quarantine"].append(decoded.quarantine)


def _differences(reading: Reading, stretch: Stretch, derived: Derived) -> Iterator[str]:
    if derived.events != stretch.events:
        yield f"{derived.events:,} events in the frames, {stretch.events:,} counted"
    if derived.ignored != stretch.ignored:
        yield f"{derived.ignored:,} events to ignore in the frames, {stretch.ignored:,} counted"
    dropped = 0
    for dataset in (*TICK_DATASETS, "quarantine"):
        tables = derived.tables.get(dataset, [])
        rows = pa.concat_tables(tables) if tables else None
        kept = Totals()
        if rows is not None and rows.num_rows:
            kept, unknown = _compare(reading, stretch, dataset, rows)
            dropped += rows.num_rows - kept.rows
            if unknown:
                yield f"{dataset}: {unknown:,} rows neither stored nor redelivered"
        bounds = {stretch.shard: stretch.first - 1}, {stretch.shard: stretch.last}
        counted = reading.ledger_units(dataset, *bounds, daily=False).get(WHOLE, Totals())
        if kept != counted:
            yield f"{dataset}: {counted.rows:,} rows in the ledger are not those of the frames"
    if dropped != stretch.duplicate:
        yield f"{dropped:,} rows of the frames are not stored, {stretch.duplicate:,} redelivered"


def _compare(
    reading: Reading, stretch: Stretch, dataset: str, rows: pa.Table
) -> tuple[Totals, int]:
    """Return the totals of rows stored under their own seq, and how many of the rest have a key
    that is stored nowhere.
    """
    snapshot = reading.snapshot(dataset)
    staged = reading.staged(dataset, snapshot.through if snapshot else {})
    union = f"({union_sql(dataset, snapshot, reading.shards, staged)})"
    first, last = stretch.first << INDEX_BITS, (stretch.last + 1) << INDEX_BITS
    connection = reading.duckdb
    connection.register("derived", rows)
    try:
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE stored AS SELECT seq FROM "
            f"{union} WHERE shard = {stretch.shard} AND seq >= {first} AND seq < {last}"
        )
        kept = reading.totals(dataset, "derived", "seq IN (SELECT seq FROM stored)")
        if kept.rows == rows.num_rows:
            return kept, 0
        if dataset not in RULES:
            return kept, rows.num_rows - kept.rows
        return kept, _unknown(reading, dataset, union)
    finally:
        connection.unregister("derived")


def _unknown(reading: Reading, dataset: str, union: str) -> int:
    """Count derived rows that are not stored, and whose key, if they have one, is not either."""
    connection, key = reading.duckdb, KEY_SQL[dataset]
    instrument = ", ".join(f'"{name}"' for name in RULES[dataset].instrument)
    select = f"SELECT concat_ws('|', {instrument}) AS instrument, {key} AS key"
    missing = f"FROM derived WHERE {key} IS NOT NULL AND seq NOT IN (SELECT seq FROM stored)"
    bounds = connection.execute(
        f"SELECT min(epoch_us(event_time)), max(epoch_us(event_time)) {missing}"
    ).fetchone()
    if bounds is None or bounds[0] is None:
        return 0
    found = connection.execute(
        f"SELECT count(*) FROM ({select} {missing}) ANTI JOIN ({select} FROM {union} "
        f"WHERE event_time >= make_timestamptz({bounds[0] - MARGIN_US}) "
        f"AND event_time <= make_timestamptz({bounds[1] + MARGIN_US})) USING (instrument, key)"
    ).fetchone()
    return int(found[0]) if found else 0
