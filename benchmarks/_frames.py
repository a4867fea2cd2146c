"""What Chromium's main thread did for each frame, from a trace of it."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from itertools import pairwise
from typing import Any

CATEGORIES = ("toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline")
"""What a trace must have."""

TASKS = ("RunTask", "ThreadControllerImpl::RunTask")
DRAWS = "FireAnimationFrame"


def frames_of(trace: bytes) -> list[float]:
    """Return the work of each frame, milliseconds: of the task that draws it, whoever asked for it,
    with style, layout and paint, and of the tasks since the one before, messages among them.
    """
    events: list[dict[str, Any]] = json.loads(trace)["traceEvents"]
    drawn = [each for each in events if each.get("name") == DRAWS]
    if not drawn:
        return []
    threads = Counter((each["pid"], each["tid"]) for each in drawn)
    (main, _), *_ = threads.most_common(1)
    tasks = sorted(
        (each["ts"], each["dur"])
        for each in events
        if each.get("ph") == "X" and each["name"] in TASKS and (each["pid"], each["tid"]) == main
    )
    begins = [began for began, _ in tasks]
    places = sorted(
        {
            bisect_right(begins, each["ts"]) - 1
            for each in drawn
            if (each["pid"], each["tid"]) == main
        }
    )
    return [
        sum(took for _, took in tasks[one + 1 : then + 1]) / 1_000 for one, then in pairwise(places)
    ]
