"""The one fault that can't be written down where all others are: the hot tier itself is away.

A small file in the home says since when and who was told, so that a restart tells nobody again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from flows.receivers import Receiver
from lake.clock import Clock, utc_from_us
from lake.errors import TicklakeError
from lake.hot.incidents import TRIES_MAX, Notice

AWAY_S_MIN = 60
"""A server that is started anew is away for some seconds, which is nobody's business."""

THING, FAULT = "hot tier", "PostgreSQL does not answer"
REMEDY = "see `ticklake status`; ticks are safe in the journal meanwhile"

MakeReceivers = Callable[[], Sequence[Receiver]]


class Away:
    """Of one home: {"since": ISO 8601, "tries": n, "told": [receiver]} while it lasts."""

    def __init__(self, home: Path) -> None:
        self._path = home / "run" / "hot_tier_away.json"

    def seen(self, clock: Clock, receivers: MakeReceivers) -> None:
        """Note that the hot tier did not answer; tell who was not told, once it lasts."""
        now = utc_from_us(clock.now_us())
        found = self._read() or {"since": now.isoformat(), "tries": 0, "told": []}
        since = datetime.fromisoformat(found["since"])
        if (now - since).total_seconds() >= AWAY_S_MIN and found["tries"] < TRIES_MAX:
            rest = [each for each in receivers() if each.name not in found["told"]]
            found["tries"] += bool(rest)
            self._write(found)
            notice = Notice(0, "opened", THING, FAULT, REMEDY, since, None)
            for each in rest:
                with suppress(TicklakeError):  # the next look tries again
                    each.send([notice])
                    found["told"].append(each.name)
                    self._write(found)
        self._write(found)

    def over(self, clock: Clock, receivers: MakeReceivers) -> None:
        """Note that it answers; tell those who were told, once."""
        found = self._read()
        if found is None:
            return
        self._path.unlink(missing_ok=True)
        since, now = datetime.fromisoformat(found["since"]), utc_from_us(clock.now_us())
        notice = Notice(0, "over", THING, FAULT, REMEDY, since, now)
        for each in receivers() if found["told"] else ():
            if each.name in found["told"]:
                with suppress(TicklakeError):  # it is over, and `status` says so
                    each.send([notice])

    def _read(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self._path.read_bytes())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return found if isinstance(found, dict) else None

    def _write(self, found: dict[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(found))
        new.replace(self._path)
