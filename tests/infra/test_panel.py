"""What an ingest shows of itself: lags by our own clock, and why nothing more comes in."""

from __future__ import annotations

from infra.command.panel import facts
from lake.ingest.status import Status
from lake.state import remedy


def test_lags_are_those_of_frames_by_our_clock_and_not_a_recording_s_age() -> None:
    mover = {"lag_ms": 1e11, "lake_lag_ms": 1e11, "events": 5}
    shown = dict(facts(Status(mover=mover, hot_lag_ms=12.0, lake_lag_ms=1_500.0), 10.0))
    assert shown["hot lag"] == "12 ms"
    assert shown["lake lag"] == "1,500 ms"


def test_an_intake_that_stopped_says_why_while_the_rest_goes_on() -> None:
    shown = dict(facts(Status(fault="journal: the disk is full: make room"), 0.0))
    assert shown["intake stopped"] == "journal: the disk is full: make room"


def test_a_full_disk_of_the_database_has_its_own_remedy() -> None:
    said = "ERROR: could not extend file: No space left on device"
    assert remedy(said, "is the server up?").startswith("make room")
    assert remedy("connection refused", "is the server up?") == "is the server up?"
