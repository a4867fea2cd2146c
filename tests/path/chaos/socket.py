"""The process that reads the sockets, reduced to its journal; remembers what was acknowledged."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from lake.ingest import control
from lake.journal.journal import Journal
from tests.path.chaos.disk import Disk
from tests.path.chaos.faults import ArmedSteps
from tests.path.chaos.place import Place

SEGMENT_BYTES_MAX = 4_000


@dataclass(frozen=True, slots=True)
class Sent:
    """One frame as it was handed to the journal."""

    raw: bytes
    received_us: int
    connection: int


class Socket:
    """One shard's intake; what it remembers by frame number outlives it.

    acknowledged: frames that are durable; unsure: frames that may be; archive: frames whose
    segments may be deleted, and whether they are control records.
    """

    def __init__(self, place: Place, shard: int, disk: Disk) -> None:
        self._place = place
        self.shard = shard
        self._disk = disk
        self._directory = place.shard(shard)
        self.steps = ArmedSteps(lambda name: disk.journal_step(self._directory, name))
        self.acknowledged: dict[int, Sent] = {}
        self.unsure: defaultdict[int, list[Sent]] = defaultdict(list)
        self.archive: dict[int, tuple[bool, Sent]] = {}
        self.gaps: dict[int, int] = {}
        self._pending: dict[int, Sent] = {}
        self._journal: Journal | None = None
        self._last_us = 0

    @property
    def alive(self) -> bool:
        return self._journal is not None

    def open(self) -> None:
        """Start: recover the journal, and say where the gap is if there was an earlier start."""
        self._journal = Journal(
            self._directory,
            self.shard,
            segment_bytes_max=SEGMENT_BYTES_MAX,
            bytes_max=1 << 30,
            steps=self.steps,
        )
        self._disk.opened(self._directory)
        last = max(self.acknowledged, default=0)
        assert self._journal.next_frame > last, f"frame {last} was acknowledged and is gone"
        self.note(control.Started(self._place.clock.now_us()))
        if self._last_us:
            self.gap(0, "restart")
        self.note(control.Up(0, self._place.clock.now_us()))

    def send(self, frames: list[bytes], connection: int) -> None:
        """Append frames of a connection."""
        now_us = self._place.clock.now_us()
        self._append([Sent(raw, now_us + i, connection) for i, raw in enumerate(frames)])
        self._last_us = now_us

    def gap(self, connection: int, kind: control.GapKind) -> None:
        """Open a gap of a connection."""
        now_us = self._place.clock.now_us()
        record = control.GapOpened(connection, kind, self._last_us or now_us, now_us)
        self.gaps[connection] = self.note(record)

    def fill(self, connection: int) -> None:
        """Close the connection's gap, if one is open, and let the connection be up."""
        now_us = self._place.clock.now_us()
        gap = self.gaps.pop(connection, None)
        if gap is not None:
            self.note(control.GapClosed(gap, now_us, now_us, "crypto_trades"))
        self.note(control.Up(connection, now_us))

    def note(self, record: control.Control) -> int:
        """Append a control record; return its frame."""
        sent = Sent(control.dump(record), self._place.clock.now_us(), control.HISTORY_CONNECTION)
        return self._append([sent], control_record=True)

    def flush(self) -> None:
        """Make it durable; what that acknowledges is remembered."""
        assert self._journal is not None
        self._journal.flush()
        self.acknowledged.update(self._pending)
        self._pending = {}

    def die(self) -> None:
        """End: whether what was not acknowledged is in the journal, nobody knows."""
        if self._journal is None:
            return
        self._journal.close()
        self._journal = None
        for frame, sent in self._pending.items():
            self.unsure[frame].append(sent)
        self._pending = {}
        self.gaps = {}

    def _append(self, sent: list[Sent], *, control_record: bool = False) -> int:
        assert self._journal is not None
        first = self._journal.append(
            "sim",
            sent[0].connection,
            [each.raw for each in sent],
            [each.received_us for each in sent],
            control=control_record,
        )
        self._pending.update({first + i: each for i, each in enumerate(sent)})
        return first
