"""Watch the promises and tell of what is wrong: one look, and a loop in the process that stays.

It needs no Prefect. While the hot tier is away nothing can be written down, so that is told by
itself, and the minutes are counted as missed afterwards.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import psycopg

from flows.alerts_to_receivers import Told, tell
from flows.away import Away
from flows.place import place_of, settings_of
from flows.promises_to_alerts import Bounds, Checked, check
from flows.receivers import Receiver, receivers_of
from lake.clock import Clock, utc_from_us
from lake.errors import TicklakeError, Unavailable
from lake.ingest.report import feeds_heard
from lake.settings import Settings
from lake.state import read_state

WATCH_S = 30.0
UNANSWERED_MAX = 44_640
"""Minutes of a month."""


def look(
    home: Path | None, clock: Clock, unanswered: Iterable[datetime] = ()
) -> tuple[Checked, Told]:
    """Measure every promise and tell receivers what they were not told yet.

    Raises Unavailable while the hot tier is away.
    """
    place = place_of(home)
    checked = check(
        place.dsn,
        place.warehouse,
        clock,
        bounds_of(place.settings),
        unanswered=unanswered,
        heard=feeds_heard(place.settings.home, clock),
    )
    return checked, tell(place.dsn, clock, receivers_at(place.settings))


def keep_watch(home: Path, clock: Clock, stop: threading.Event) -> None:
    """Look every WATCH_S until stopped; what fails is said on standard error and tried again."""
    unanswered: set[datetime] = set()
    away = Away(home)
    beat = home / "run" / "watched"  # by whose age others see that this loop turns
    while not stop.is_set():
        try:
            look(home, clock, unanswered)
            unanswered.clear()
            away.over(clock, lambda: receivers_at(settings_of(home)))
        except (Unavailable, psycopg.OperationalError) as error:
            _say(error)
            if len(unanswered) < UNANSWERED_MAX:
                unanswered.add(utc_from_us(clock.now_us()).replace(second=0, microsecond=0))
            away.seen(clock, lambda: receivers_at(settings_of(home)))
        except Exception as error:  # of many kinds; a watch that ends would watch nothing
            _say(error)
        beat.touch()
        stop.wait(WATCH_S)


def bounds_of(settings: Settings) -> Bounds:
    """Return what the settings promise."""
    return Bounds(settings.completeness_permille_min / 1_000, settings.quality_percent_min / 100)


def receivers_at(settings: Settings) -> list[Receiver]:
    """Return who is told of a home's incidents."""
    return receivers_of(settings, read_state(settings.home))


def _say(error: Exception) -> None:
    words = str(error) if isinstance(error, TicklakeError) else f"{type(error).__name__}: {error}"
    print(f"watch: {words}", file=sys.stderr, flush=True)
