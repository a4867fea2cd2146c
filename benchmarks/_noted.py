"""Rows as a worker takes them, with the times of their receipt kept for a benchmark."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lake.feeds.codec import Frames
from lake.feeds.plain import Plain
from serving.live.once import Once, SoonRows

Int64 = npt.NDArray[np.int64]


class Noted(Once):
    """Once, that keeps when the rows of the last round were received."""

    def __init__(self) -> None:
        super().__init__()
        self._received: list[Int64] = []

    def soon(self, feed: str, frames: Frames) -> SoonRows:
        """Return the new rows of one run."""
        found = super().soon(feed, frames)
        for rows in (*found.plain.values(), *found.tables.values()):
            if isinstance(rows, Plain):
                self._received.append(rows.numbers("received_time"))
            else:
                times = rows["received_time"].to_numpy()
                self._received.append(times.astype("datetime64[us]").astype(np.int64))
        return found

    def received_us(self) -> Int64:
        """Return the times of the rows since this was asked last."""
        found = np.concatenate([np.zeros(0, np.int64), *self._received])
        self._received.clear()
        return found
