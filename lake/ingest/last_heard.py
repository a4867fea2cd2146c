"""When each connection last heard its venue, kept beside the journal across restarts.

A note for the gap that a later start opens: an older time than the truth makes the gap longer,
never shorter, so it needs no fsync.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path


class LastHeard:
    """A small JSON file: "feed/connection" -> UTC microseconds."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "last_heard.json"
        self._known: dict[str, int] = {}
        if self._path.exists():
            try:
                self._known = {
                    str(k): int(v) for k, v in json.loads(self._path.read_text()).items()
                }
            except (ValueError, AttributeError):
                self._known = {}  # a torn note: the gap can't be dated, holes in ids still tell

    def last_us(self, feed: str, connection: int) -> int | None:
        """Return when the connection was last heard in an earlier session; None if never."""
        return self._known.get(f"{feed}/{connection}")

    def save(self, heard: Mapping[tuple[str, int], int]) -> None:
        """Keep newer times."""
        for (feed, connection), last_us in heard.items():
            if last_us:
                self._known[f"{feed}/{connection}"] = last_us
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self._known))
        os.replace(new, self._path)
