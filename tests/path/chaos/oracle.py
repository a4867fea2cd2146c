"""The one oracle: what is stored is the decode of the journal, each event once, and no more.

The decode here is the reference codec's, event by event, and the rules of redelivery are written
out in plain Python: it shares nothing with the path but the journal's reader and the contracts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow as pa

from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.feeds.codec import INDEX_BITS, frames_of
from lake.feeds.massive import MassiveCodec
from lake.ingest import control
from lake.ingest.hot_to_lake import BOOKS
from lake.journal.reader import JournalReader
from lake.verify.verify import verify
from lake.views.client import Client
from tests.path.chaos.place import Place
from tests.path.chaos.socket import Sent, Socket

TICKS = ("crypto_trades", "crypto_quotes", "crypto_aggregates", "quarantine")
OURS = {"received_time", "shard", "seq"}
"""Columns that are not the venue's words."""

Row = dict[str, Any]
Gone = Collection[tuple[str, date]]
"""Days that left hot by proof, by dataset; late rows may have made them anew."""


class Reference:
    """What a shard's journal means, frame by frame."""

    def __init__(self) -> None:
        self.rows: defaultdict[str, list[Row]] = defaultdict(list)
        self.gaps: dict[int, Row] = {}
        self._codec = MassiveCodec("sim")
        self._keys: set[tuple[object, ...]] = set()
        self._times_said: Counter[tuple[object, ...]] = Counter()

    def control(self, frame: int, raw: bytes) -> None:
        """Take a control record."""
        record = control.load(raw)
        if isinstance(record, control.GapOpened):
            self.gaps[frame << INDEX_BITS] = {"record": record, "closed": False}
        elif isinstance(record, control.GapClosed):
            self._close_gap(record.gap_frame << INDEX_BITS)

    def data(self, shard: int, frame: int, sent: Sent) -> None:
        """Take a venue's frame."""
        frames = frames_of(
            [sent.raw],
            shard=shard,
            first_frame=frame,
            received_us=sent.received_us,
            connection=sent.connection,
        )
        decoded = self._codec.decode(frames)
        self.rows["quarantine"] += decoded.quarantine.to_pylist()
        for dataset, table in decoded.tables.items():
            self.rows[dataset] += [
                row for row in table.to_pylist() if self._is_new(dataset, row, sent.connection)
            ]

    def _close_gap(self, gap_id: int) -> None:
        """Close a gap, and earlier ones of its connection that lie within it."""
        last = self.gaps[gap_id]["record"]
        for other_id, gap in self.gaps.items():
            record = gap["record"]
            within = record.from_us >= last.from_us and record.connection == last.connection
            gap["closed"] |= other_id <= gap_id and within

    def _is_new(self, dataset: str, row: Row, connection: int) -> bool:
        key = _key(dataset, row)
        if key is None and connection == control.HISTORY_CONNECTION:
            return False
        if key is None:
            said = (dataset, *(str(row[name]) for name in sorted(set(row) - OURS)))
            self._times_said[(connection, *said)] += 1
            key = (*said, self._times_said[(connection, *said)])
        fresh = key not in self._keys
        self._keys.add(key)
        return fresh


def _key(dataset: str, row: Row) -> tuple[object, ...] | None:
    if dataset == "crypto_trades" and row["trade_id"] is not None:
        return (dataset, row["exchange"], row["market"], row["ticker"], row["trade_id"])
    if dataset == "crypto_aggregates":
        return (dataset, row["exchange"], row["interval"], row["ticker"], row["event_time"])
    return None


def journalled(place: Place, socket: Socket) -> Iterator[tuple[int, bool, Sent]]:
    """Yield (frame, whether a control record, frame as it arrived) of everything durable."""
    for frame, (is_control, sent) in sorted(socket.archive.items()):
        yield frame, is_control, sent
    shard = socket.shard
    known = place.last_frames().get(shard, 0)
    reader = JournalReader(place.shard(shard), shard, known_frame=known)
    at = max(socket.archive, default=0) + 1
    while runs := reader.read(at, frames_max=10_000, bytes_max=1 << 26):
        for run in runs:
            frames = run.frames
            for i, raw in enumerate(frames):
                sent = Sent(raw, int(frames.received_us[i]), int(frames.connection[i]))
                yield frames.first_frame + i, run.control, sent
            at = frames.last_frame + 1
    reader.close()


def reference(place: Place, socket: Socket, last_frame: int) -> Reference:
    """Decode a shard's journal up to a frame, inclusive."""
    found = Reference()
    for frame, is_control, sent in journalled(place, socket):
        if frame > last_frame:
            break
        if is_control:
            found.control(frame, sent.raw)
        else:
            found.data(socket.shard, frame, sent)
    return found


def assert_journal(place: Place, socket: Socket) -> None:
    """Every acknowledged frame is in the journal as it was sent, and nothing that was not sent."""
    found = {frame: sent for frame, _, sent in journalled(place, socket)}
    assert sorted(found) == list(range(1, len(found) + 1)), "frame numbers have holes"
    for frame, sent in found.items():
        sure = socket.acknowledged.get(frame)
        candidates = [sure] if sure else socket.unsure[frame]
        assert sent in candidates, f"frame {frame} is not what was sent"
    lost = sorted(set(socket.acknowledged) - set(found))
    assert not lost, f"acknowledged frames {lost} are not in the journal"


def assert_look(
    place: Place, sockets: Sequence[Socket], gone: Gone, *, drained: bool = False
) -> None:
    """What a query sees now is the decode of the frames that hot says it holds; verify agrees.

    drained: everything is in the lake too, and in hot but for what left by proof.
    """
    last = place.last_frames()
    references = {each.shard: reference(place, each, last.get(each.shard, 0)) for each in sockets}
    with Client(place.dsn) as client:
        for dataset in TICKS:
            wanted = [row for each in references.values() for row in each.rows[dataset]]
            _assert_rows(client, dataset, dataset, wanted)
            if drained:
                _assert_rows(client, f"lake.{dataset}", dataset, wanted)
                _assert_hot(client, dataset, wanted, gone)
        _assert_keys(client)
        gaps = {
            (shard, gap_id): {"kind": gap["record"].reason, "closed": gap["closed"]}
            for shard, each in references.items()
            for gap_id, gap in each.gaps.items()
        }
        _assert_gaps(client, gaps)
        if drained:
            _assert_books(client)
    for full in (False, True) if drained else (False,):
        report = verify(dsn=place.dsn, journal=place.journal, full=full)
        assert report.holds, f"verify(full={full}): {[str(fault) for fault in report.faults]}"


def _assert_rows(client: Client, view: str, dataset: str, wanted: list[Row]) -> None:
    found = client.arrow(f"SELECT * FROM {view} ORDER BY shard, seq").to_pylist()
    counts = Counter((row["shard"], row["seq"]) for row in found)
    doubled = [f"{s}/{q >> INDEX_BITS}" for (s, q), count in counts.items() if count > 1]
    assert not doubled, f"{view}: doubled at shard/frame {doubled}"
    due = {(row["shard"], row["seq"]) for row in wanted}
    missing = sorted(f"{s}/{q >> INDEX_BITS}" for s, q in due - counts.keys())
    extra = sorted(f"{s}/{q >> INDEX_BITS}" for s, q in counts.keys() - due)
    assert not missing, f"{view}: missing at shard/frame {missing}"
    assert not extra, f"{view}: too many at shard/frame {extra}"
    table = pa.Table.from_pylist(wanted, schema=arrow_schema(load(dataset)))
    assert found == table.to_pylist(), f"{view}: rows differ from the journal's"


def _assert_keys(client: Client) -> None:
    doubled = client.arrow(
        "SELECT exchange, market, ticker, trade_id FROM crypto_trades WHERE trade_id IS NOT NULL"
        " GROUP BY ALL HAVING count(*) > 1"
    )
    assert doubled.num_rows == 0, f"trades stored twice: {doubled.to_pylist()}"


def _assert_gaps(client: Client, wanted: Mapping[tuple[int, int], Row]) -> None:
    found = client.arrow(
        "SELECT shard::int AS shard, gap_id, kind, closed_time IS NOT NULL AS closed FROM feed_gaps"
    ).to_pylist()
    rows = {(r["shard"], r["gap_id"]): {"kind": r["kind"], "closed": r["closed"]} for r in found}
    assert rows == wanted, f"gaps {rows}, of the journal {dict(wanted)}"


def _assert_books(client: Client) -> None:
    """The lake's books are hot's, row for row."""
    for book in BOOKS:
        hot, lake = (
            client.arrow(f"FROM {tier}.{book} ORDER BY ALL").to_pylist() for tier in ("hot", "lake")
        )
        assert lake == hot, f"lake.{book} differs from hot's"


def _assert_hot(client: Client, dataset: str, wanted: list[Row], gone: Gone) -> None:
    """Hot holds the wanted rows; of days that left it, verify knows how many."""
    time = load(dataset).ledger_time
    stays = [row for row in wanted if (dataset, row[time].date()) not in gone]
    if len(stays) == len(wanted):
        _assert_rows(client, f"hot.{dataset}", dataset, wanted)
        return
    found = client.arrow(f"SELECT shard::int AS s, seq FROM hot.{dataset}").to_pylist()
    places = {(row["s"], row["seq"]) for row in found}
    assert {(r["shard"], r["seq"]) for r in stays} <= places, f"hot.{dataset}: rows missing"
    assert places <= {(r["shard"], r["seq"]) for r in wanted}, f"hot.{dataset}: rows too many"
    assert len(places) == len(found), f"hot.{dataset}: rows doubled"
