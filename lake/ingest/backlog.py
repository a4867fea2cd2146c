"""How old the oldest durable frame is that a store does not hold yet."""

from __future__ import annotations

from collections import deque

STEP_US = 100_000
"""Times are kept this far apart, so ages are exact to it."""

MARKS_MAX = 100_000
"""Times kept, nearly three hours of them; of what is older only that is known."""


class Backlog:
    """When frames became durable, by the machine's clock: a recording's own times are long ago."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, int]] = deque(maxlen=MARKS_MAX)

    def note(self, durable_frame: int, now_us: int) -> None:
        """Note that frames up to this one, inclusive, are durable."""
        if self._marks:
            frame, at_us = self._marks[-1]
            if durable_frame <= frame or now_us - at_us < STEP_US:
                return
        self._marks.append((durable_frame, now_us))

    def age_ms(self, held_frame: int, now_us: int) -> float:
        """Return the age of the oldest durable frame beyond a store's last (inclusive)."""
        oldest = next((at_us for frame, at_us in self._marks if frame > held_frame), now_us)
        return max(0.0, (now_us - oldest) / 1000)

    def forget(self, held_frame: int) -> None:
        """Let go of frames that every store holds; the newest time stays."""
        while len(self._marks) > 1 and self._marks[0][0] <= held_frame:
            self._marks.popleft()
