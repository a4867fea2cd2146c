"""What taps an intake sees each frame once, before its fsync, by its number in the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.clock import SystemClock
from lake.errors import DiskFull
from lake.ingest import control
from lake.ingest.intake import FRAMES_WAITING_MAX, Intake, Slice
from lake.journal.journal import Journal
from lake.journal.reader import JournalReader
from lake.steps import Steps


class Seen:
    """A tap that keeps what it is shown."""

    heard = True
    wanted: Callable[[int], None]

    def __init__(self) -> None:
        self.shown: dict[int, tuple[str, int, bytes, int]] = {}
        self.durable_frame = 0

    def frames(self, given: Slice) -> None:
        assert given.frames
        for i, (frame, time_us) in enumerate(zip(given.frames, given.received_us, strict=True)):
            assert given.first_frame + i not in self.shown
            place = given.feed, given.connection, frame, time_us
            self.shown[given.first_frame + i] = place

    def durable(self, frame: int) -> None:
        self.durable_frame = frame

    def figures(self) -> Mapping[str, int]:
        return {}


def opened(folder: Path, steps: Steps | None = None) -> tuple[Journal, Intake, Seen]:
    journal = Journal(folder, 0, segment_bytes_max=1 << 20, bytes_max=1 << 30, steps=steps)
    intake, seen = Intake(journal, SystemClock()), Seen()
    intake.show_to(seen)
    return journal, intake, seen


def stored(folder: Path) -> dict[int, tuple[str, int, bytes, int]]:
    reader = JournalReader(folder, 0)
    runs = reader.read(1, frames_max=10_000, bytes_max=1 << 30)
    reader.close()
    return {
        run.frames.first_frame + i: (
            run.feed,
            int(run.frames.connection[i]),
            frame,
            int(run.frames.received_us[i]),
        )
        for run in runs
        if not run.control
        for i, frame in enumerate(run.frames)
    }


STEPS = st.lists(st.sampled_from(["a", "b", "add", "note", "hand over", "flush"]), max_size=40)


@given(STEPS)
@settings(max_examples=40, deadline=None)
def test_it_sees_each_frame_once_by_its_number_in_the_journal(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("tap") / "shard-0"
    journal, intake, seen = opened(folder)
    lanes = {"a": intake.lane("sim", 0), "b": intake.lane("coinbase", 1)}
    noted: list[int] = []

    async def run() -> None:
        for n, step in enumerate([*steps, "flush"]):
            if step in lanes:
                lanes[step].frames.append(b"[%d]" % n)
                lanes[step].received_us.append(n)
            elif step == "add":
                intake.add("history", -1, [b"[%d]" % n, b"[]"], n)
            elif step == "note":
                intake.note("sim", lambda: control.Started(1), noted.append)
            elif step == "hand over":
                intake.hand_over()
                assert intake.waiting() >= 0
            else:
                await intake.flush()
                assert seen.durable_frame == journal.next_frame - 1

    asyncio.run(run())
    journal.close()
    assert stored(folder) == seen.shown
    assert len(noted) == steps.count("note")
    assert intake.frames_total == len(seen.shown)


def test_small_slices_of_one_connection_are_one_block(tmp_path: Path) -> None:
    journal, intake, _ = opened(tmp_path / "shard-0")
    lane = intake.lane("sim", 0)
    for n in range(100):
        lane.frames.append(b"[]")
        lane.received_us.append(n)
        intake.hand_over()
    asyncio.run(intake.flush())
    size = sum(path.stat().st_size for path in (tmp_path / "shard-0").glob("*.journal"))
    journal.close()
    assert size < 100 * 40, "100 blocks would have 100 headers"


def test_a_frame_that_the_disk_refused_keeps_the_number_it_was_shown_with(tmp_path: Path) -> None:
    folder = tmp_path / "shard-0"
    journal, intake, seen = opened(folder, Steps({"journal.fsync": ("ENOSPC", 1)}))
    lane = intake.lane("sim", 0)
    lane.frames, lane.received_us = [b"[1]", b"[2]"], [1, 2]
    with pytest.raises(DiskFull):
        asyncio.run(intake.flush())
    assert seen.durable_frame == 0
    lane.frames, lane.received_us = [b"[3]"], [3]
    asyncio.run(intake.flush())
    journal.close()
    assert stored(folder) == seen.shown
    assert seen.durable_frame == 3


def test_a_flush_is_due_before_its_time_for_a_frame_that_somebody_waits_for(tmp_path: Path) -> None:
    journal, intake, seen = opened(tmp_path / "shard-0")
    lane = intake.lane("sim", 0)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert await intake.due(0.001), "nobody waits"
        for n in range(1, 6, 2):
            lane.frames, lane.received_us = [b"[]"], [n]
            intake.hand_over()
            if n == 1:
                seen.wanted(1)
                assert not await intake.due(60.0)
            else:  # from another thread, while it is waited for
                loop.run_in_executor(None, seen.wanted, n)
                assert not await intake.due(60.0)
            await intake.flush()
            assert seen.durable_frame == n
            seen.wanted(n)
            assert await intake.due(0.001), "it is durable"
            seen.wanted(n + 1)
            assert await intake.due(0.001), "no frame has that number yet"
            lane.frames, lane.received_us = [b"[]"], [n]
            intake.hand_over()
            await intake.flush()
            seen.wanted(n + 1)
            assert await intake.due(0.001), "it became durable in its turn"

    asyncio.run(run())
    lane.frames, lane.received_us = [b"[]"], [9]
    intake.hand_over()
    seen.wanted(7)  # the loop has ended: nothing to do
    journal.close()


def test_while_the_disk_is_far_behind_the_lanes_fill_so_that_readers_pause(tmp_path: Path) -> None:
    journal, intake, seen = opened(tmp_path / "shard-0")
    lane = intake.lane("sim", 0)
    lane.frames, lane.received_us = [b""] * (FRAMES_WAITING_MAX + 1), [0] * (FRAMES_WAITING_MAX + 1)
    intake.hand_over()
    lane.frames, lane.received_us = [b"[]"], [1]
    intake.hand_over()
    assert len(lane.frames) == 1
    assert intake.waiting() == FRAMES_WAITING_MAX + 2
    asyncio.run(intake.flush())
    assert len(seen.shown) == FRAMES_WAITING_MAX + 2
    journal.close()
