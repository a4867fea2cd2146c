"""Promises of the journal (design 3.1): acknowledged is durable, torn is cut, no number twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.errors import DiskFull, Unavailable
from lake.journal.durable import DurableFrame
from lake.journal.journal import Journal
from lake.journal.reader import JournalReader
from lake.journal.segment import segments
from lake.steps import Steps

LIMITS = {"segment_bytes_max": 1 << 20, "bytes_max": 1 << 30}


def opened(directory: Path, **changes: object) -> Journal:
    return Journal(directory, 0, **{**LIMITS, **changes})  # type: ignore[arg-type]


def everything(directory: Path, first: int = 1) -> list[bytes]:
    reader = JournalReader(directory, 0)
    found: list[bytes] = []
    while runs := reader.read(first + len(found), frames_max=7, bytes_max=1 << 20):
        for run in runs:
            assert run.frames.first_frame == first + len(found)
            found.extend(run.frames)
    reader.close()
    return found


def test_flushed_frames_read_back_in_order_with_contiguous_numbers(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for i in range(50):
        journal.append("sim", i % 2, [b"frame %d" % i, b"with\nnewline"], [i, i])
        if i % 5 == 4:
            journal.flush()
    journal.close()
    assert everything(tmp_path)[::2] == [b"frame %d" % i for i in range(50)]
    assert everything(tmp_path, 51)[0] == b"frame 25"


def test_unflushed_frames_are_not_seen(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append("sim", 0, [b"a"], [1])
    assert everything(tmp_path) == []
    journal.flush()
    assert everything(tmp_path) == [b"a"]
    journal.close()


def test_a_reader_does_not_pass_the_published_frame_though_bytes_are_there(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append("sim", 0, [b"a", b"b"], [1, 1])
    journal.flush()
    DurableFrame(tmp_path / "durable").publish(0)
    assert everything(tmp_path) == []
    journal.close()


def test_every_start_opens_a_new_segment_and_goes_on_numbering(tmp_path: Path) -> None:
    for start in range(3):
        journal = opened(tmp_path)
        assert journal.next_frame == 1 + start
        journal.append("sim", 0, [b"%d" % start], [1])
        journal.flush()
        journal.close()
    assert [each.number for each in segments(tmp_path)] == [1, 2, 3]
    assert everything(tmp_path) == [b"0", b"1", b"2"]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_tail_is_cut_and_reported_and_its_numbers_are_used_again(
    tmp_path: Path, cut: int
) -> None:
    journal = opened(tmp_path)
    journal.append("sim", 0, [b"kept"], [1])
    journal.flush()
    journal.append("sim", 0, [b"torn, never acknowledged"], [1])
    journal._write(journal._pending)  # what a power cut leaves: bytes written, nothing published
    journal._pending.clear()
    journal.close()
    newest = segments(tmp_path)[-1].path
    newest.write_bytes(newest.read_bytes()[:-cut])
    journal = opened(tmp_path)
    assert journal.recovery.cut_bytes > 0
    assert journal.next_frame == 2
    journal.append("sim", 0, [b"new"], [1])
    journal.flush()
    journal.close()
    assert everything(tmp_path) == [b"kept", b"new"]


def test_intact_frames_beyond_the_published_one_are_written_again(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append("sim", 0, [b"a"], [1])
    journal.flush()
    journal.append("sim", 0, [b"b"], [1])
    journal._write(journal._pending)
    journal._pending.clear()
    journal.close()
    journal = opened(tmp_path)
    assert journal.recovery.rewritten_frames == 1
    journal.close()
    segments(tmp_path)[0].path.write_bytes(segments(tmp_path)[0].path.read_bytes()[:-3])
    assert everything(tmp_path) == [b"a", b"b"]


def test_a_failed_fsync_abandons_the_segment_and_keeps_the_batch(tmp_path: Path) -> None:
    journal = opened(tmp_path, steps=Steps({"journal.fsync": ("EIO", 2)}))
    for text in (b"a", b"b", b"c"):
        journal.append("sim", 0, [text], [1])
        journal.flush()
    journal.close()
    assert len(segments(tmp_path)) == 2
    assert everything(tmp_path) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("step", ["journal.write", "journal.fsync"])
def test_a_full_disk_stops_loudly_and_the_batch_can_be_flushed_later(
    tmp_path: Path, step: str
) -> None:
    journal = opened(tmp_path, steps=Steps({step: ("ENOSPC", 2)}))
    journal.append("sim", 0, [b"a"], [1])
    journal.flush()
    journal.append("sim", 0, [b"b"], [1])
    with pytest.raises(DiskFull, match="no room"):
        journal.flush()
    assert everything(tmp_path) == [b"a"]
    journal.flush()
    journal.close()
    assert everything(tmp_path) == [b"a", b"b"]


def test_the_disk_budget_is_a_full_disk(tmp_path: Path) -> None:
    journal = opened(tmp_path, bytes_max=10_000)

    def fill() -> None:
        for _ in range(200):
            journal.append("sim", 0, [b"x" * 100], [1])
            journal.flush()

    with pytest.raises(DiskFull, match="budget of 10000 bytes"):
        fill()
    journal.close()
    assert len(everything(tmp_path)) > 20


def test_segments_rotate_and_a_reader_follows(tmp_path: Path) -> None:
    journal = opened(tmp_path, segment_bytes_max=500)
    reader = JournalReader(tmp_path, 0)
    seen = 0
    for i in range(40):
        journal.append("sim", 0, [b"%d" % i * 20], [i])
        journal.flush()
        runs = reader.read(seen + 1, frames_max=100, bytes_max=1 << 20)
        seen += sum(len(run.frames) for run in runs)
    journal.close()
    assert seen == 40
    assert len(segments(tmp_path)) > 3


def test_a_second_appender_is_refused(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with pytest.raises(Unavailable, match="another process"):
        opened(tmp_path)
    journal.close()


@pytest.mark.parametrize("fault", ["EIO", "ENOSPC"])
def test_a_segment_that_cannot_be_opened_loses_nothing(tmp_path: Path, fault: str) -> None:
    steps = Steps({"journal.segment": (fault, 2)})
    journal = opened(tmp_path, segment_bytes_max=1, steps=steps)
    journal.append("sim", 0, [b"a"], [1])
    journal.flush()
    journal.append("sim", 0, [b"b"], [1])
    if fault == "ENOSPC":
        with pytest.raises(DiskFull, match="no room"):
            journal.flush()
    journal.append("sim", 0, [b"c"], [1])
    journal.flush()
    journal.close()
    assert everything(tmp_path) == [b"a", b"b", b"c"]


def test_what_failed_writes_left_unacknowledged_can_be_flushed_later(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append("sim", 0, [b"a"], [1])
    journal._abandon()
    journal.directory = tmp_path / "gone"
    with pytest.raises(Unavailable, match="check the disk"):
        journal.flush()
    journal.directory = tmp_path
    journal.append("sim", 0, [b"b"], [1])
    journal.flush()
    journal.close()
    assert everything(tmp_path) == [b"a", b"b"]


def test_a_start_that_died_halfway_is_as_if_it_had_not_been(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append("sim", 0, [b"a"], [1])
    journal.flush()
    journal.append("sim", 0, [b"b"], [1])
    journal.flush()
    journal.close()
    (tmp_path / "durable").write_bytes(b"")  # a power cut may take it back
    with pytest.raises(Unavailable, match="check the disk"):
        opened(tmp_path, steps=Steps({"journal.segment": ("EIO", 1)}))
    (tmp_path / "0000000002.new").write_bytes(b"torn")
    journal = opened(tmp_path)
    assert journal.recovery.rewritten_frames == 2
    assert journal.next_frame == 3
    journal.close()
    assert everything(tmp_path) == [b"a", b"b"]


def test_a_reader_at_an_abandoned_segment_s_end_goes_on_in_the_next(tmp_path: Path) -> None:
    journal = opened(tmp_path, steps=Steps({"journal.fsync": ("EIO", 2)}))
    journal.append("sim", 0, [b"a"], [1])
    journal.flush()
    reader = JournalReader(tmp_path, 0)
    assert len(reader.read(1, frames_max=9, bytes_max=99)) == 1
    journal.append("sim", 0, [b"b" * 100], [1])
    journal.flush()
    abandoned = segments(tmp_path)[0].path
    raw = bytearray(abandoned.read_bytes())
    raw[-50:] = bytes(50)  # pages that the kernel dropped
    abandoned.write_bytes(raw)
    assert list(reader.read(2, frames_max=9, bytes_max=99)[0].frames) == [b"b" * 100]
    reader.close()
    journal.close()


def test_what_is_known_to_be_durable_is_read_though_the_word_is_lost(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append("sim", 0, [b"a", b"b"], [1, 1])
    journal.flush()
    journal.close()
    (tmp_path / "durable").write_bytes(b"")
    assert everything(tmp_path) == []
    reader = JournalReader(tmp_path, 0, known_frame=2)
    assert list(reader.read(1, frames_max=9, bytes_max=99)[0].frames) == [b"a", b"b"]
    reader.close()
