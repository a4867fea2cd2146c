"""A note of what was heard is never ahead of the journal, or a kill hides a loss from the gaps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lake.clock import SystemClock
from lake.errors import DiskFull
from lake.ingest.intake import Intake, Lane
from lake.ingest.last_heard import NAME, LastHeard
from lake.journal.journal import Journal
from lake.journal.reader import JournalReader
from lake.steps import Steps
from tests.path.market import Home, Market, ended

CLAIM = "sim|*"


class Watched(Steps):
    """Steps that tell the test where the journal is."""

    def __init__(self) -> None:
        super().__init__()
        self.during: Callable[[str], None] = lambda step: None

    def at(self, name: str) -> None:
        self.during(name)


class Shard:
    """A journal, its intake with one lane, and the note; frame n is heard at time n."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "shard-0"
        self.steps = Watched()
        self.journal = Journal(
            self.folder, 0, segment_bytes_max=1 << 20, bytes_max=1 << 30, steps=self.steps
        )
        self.intake = Intake(self.journal, SystemClock())
        self.lane: Lane = self.intake.lane("sim", 0)
        self.heard = LastHeard(folder, 0)
        self.heard_us = 0

    def hears(self, at_us: int) -> None:
        """Take one frame in, as the socket's reader does."""
        self.heard_us = at_us
        self.lane.frames.append(b"[]")
        self.lane.received_us.append(at_us)

    def flush(self) -> None:
        """Make durable, and note what was heard."""
        asyncio.run(self.heard.save_durable(self.intake.flush, lambda: {(CLAIM, 0): self.heard_us}))

    def noted_us(self) -> int:
        """Return the time of the note on disk; 0 when there is none."""
        path = self.folder / NAME
        return int(json.loads(path.read_text())[f"{CLAIM}|0"]) if path.exists() else 0


@pytest.fixture
def shard(tmp_path: Path) -> Iterator[Shard]:
    made = Shard(tmp_path)
    yield made
    made.journal.close()


def test_it_is_written_after_the_fsync_of_what_it_speaks_of(shard: Shard) -> None:
    noted: dict[str, int] = {}
    shard.steps.during = lambda step: noted.update({step: shard.noted_us()})
    shard.hears(10)
    shard.flush()
    assert noted == {"journal.write": 0, "journal.fsync": 0, "journal.published": 0}
    assert shard.noted_us() == 10


def test_what_comes_during_the_flush_is_left_to_the_next_one(shard: Shard) -> None:
    shard.hears(10)
    shard.steps.during = lambda step: shard.hears(20) if step == "journal.fsync" else None
    shard.flush()
    assert shard.noted_us() == 10
    shard.steps.during = lambda step: None
    shard.flush()
    assert shard.noted_us() == 20


def test_a_flush_that_fails_leaves_the_older_note(shard: Shard) -> None:
    shard.hears(10)
    shard.flush()

    def no_room(step: str) -> None:
        raise OSError(28, "No space left on device", step)

    shard.steps.during = no_room
    shard.hears(20)
    with pytest.raises(DiskFull):
        shard.flush()
    assert shard.noted_us() == 10


@pytest.mark.parametrize("step", ["journal.write", "journal.fsync", "journal.published"])
def test_an_ingest_killed_in_the_journal_leaves_no_note_beyond_it(
    migrated_dsn: str, tmp_path: Path, step: str
) -> None:
    home = Home(migrated_dsn, tmp_path / "home")
    with Market(tmp_path, rate=10_000, events_per_frame=5) as market:
        killed = home.start("ingest", "sim", "--url", market.url, faults=f"{step}=kill@40")
        assert ended(killed).code < 0
    folder = home.path / "journal" / "shard-0"
    noted_us = json.loads((folder / NAME).read_text())[f"{CLAIM}|0"]
    assert 0 < noted_us <= newest_us(folder)


def newest_us(folder: Path) -> int:
    """Return when the newest durable frame of a journal came."""
    reader, at, newest = JournalReader(folder, 0), 1, 0
    while runs := reader.read(at, frames_max=10_000, bytes_max=1 << 26):
        at = runs[-1].frames.last_frame + 1
        times = [int(run.frames.received_us.max()) for run in runs if not run.control]
        newest = max([newest, *times])
    reader.close()
    return newest
