"""How fast a recording is replayed, and how long a lost venue is left alone."""

from __future__ import annotations

import asyncio
import random
from itertools import islice
from pathlib import Path

import pytest

from lake.clock import SystemClock
from lake.ingest.feed_to_journal import BACKOFF_S_MAX, BACKOFF_S_MIN, pauses_s
from lake.ingest.intake import Intake
from lake.ingest.recording_to_journal import RecordingToJournal
from lake.ingest.request import IngestRequest
from lake.journal.journal import Journal

CLOCK = SystemClock()
RECORDED_S = 0.6
FRAMES = 4


def recording(folder: Path, recorded_s: float) -> Path:
    """Return a recording of a few frames over so long."""
    path = folder / "spot_btcusdt"
    path.write_text("".join(
        f'{1613161200000000 + int(at * recorded_s * 1e6 / (FRAMES - 1))}'
        ' {"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT",'
        f'"t":{at + 1},"p":"1.5","q":"2","T":1613161200000,"m":true,"M":true}}}}\n'
        for at in range(FRAMES)
    ))  # fmt: skip
    return path


def replayed_s(folder: Path, speed: str, recorded_s: float = RECORDED_S) -> float:
    """Replay the recording at a speed; return the seconds that it took."""

    async def scenario() -> float:
        journal = Journal(folder / speed, 0, segment_bytes_max=1 << 20, bytes_max=1 << 24)
        intake = Intake(journal, CLOCK)
        request = IngestRequest((f"replay:{folder}",), speed=speed)
        start_us = CLOCK.monotonic_us()
        replay = RecordingToJournal(recording(folder, recorded_s), request)
        await replay.run(intake, CLOCK, asyncio.Event())
        took_s = (CLOCK.monotonic_us() - start_us) / 1e6
        assert intake.durable_frame > FRAMES - 1
        journal.close()
        return took_s

    return asyncio.run(scenario())


def test_a_replay_keeps_the_recorded_pace_or_a_multiple_of_it(tmp_path: Path) -> None:
    assert replayed_s(tmp_path, "real") >= RECORDED_S - 0.05
    assert replayed_s(tmp_path, "4x") >= RECORDED_S / 4 - 0.05


def test_a_replay_at_full_speed_waits_for_nothing(tmp_path: Path) -> None:
    assert replayed_s(tmp_path, "max", recorded_s=86_400.0) < 60


@pytest.mark.parametrize("seed", range(5))
def test_pauses_double_up_to_a_limit_and_no_two_venues_keep_step(seed: int) -> None:
    pauses = list(islice(pauses_s(random.Random(seed)), 12))
    for attempt, pause in enumerate(pauses):
        whole = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2**attempt)
        assert whole / 2 <= pause <= whole * 1.5
    assert pauses == list(islice(pauses_s(random.Random(seed)), 12))
    assert pauses != list(islice(pauses_s(random.Random(seed + 1)), 12))
