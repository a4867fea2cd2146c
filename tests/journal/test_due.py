"""Which segments may go: the old ones, and for want of room the oldest; never the last."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lake.journal.due import due_segments
from lake.journal.segment import header, path_of

HOUR_US = 3_600_000_000
NOW_US = 1_000_000 * HOUR_US
SIZE = 1_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four segments of ten frames, closed four, three, two and one hours ago."""
    for number in range(4):
        path = path_of(tmp_path, number)
        path.write_bytes(header(0, number, 10 * number + 1).ljust(SIZE, b"\0"))
        closed_ns = (NOW_US - (4 - number) * HOUR_US) * 1_000
        os.utime(path, ns=(closed_ns, closed_ns))
    return tmp_path


@pytest.mark.parametrize(
    ("keep_hours", "bytes_max", "frames"),
    [
        (24, None, []),
        (2.5, None, [10, 20]),
        (0, None, [10, 20, 30]),
        (24, 10 * SIZE, []),
        (24, 5 * SIZE, [10]),
        (24, SIZE, [10, 20]),
        (0, SIZE, [10, 20, 30]),
    ],
)
def test_segments_go_by_age_or_for_want_of_room(
    folder: Path, keep_hours: float, bytes_max: int | None, frames: list[int]
) -> None:
    due = due_segments(folder, NOW_US, keep_hours=keep_hours, bytes_max=bytes_max)
    assert [last_frame for _, last_frame in due] == frames
