"""Series over time as SVG: a line, another beside it, or an area that hangs from the top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from feature_repo.trading.money import Units
from lake.clock import utc_from_us

Floats = npt.NDArray[np.float64]

WIDTH, HEIGHT = 1_000, 280
LEFT, RIGHT, TOP, BOTTOM = 70, 10, 10, 24
POINTS_MAX = 500
"""Buckets of a long series; of each the lowest and the highest are drawn, so no spike is lost."""

GRID = 5
FORMATS = {"%": ".1%", "": ",.0f", "small": ".3f"}
"""Unit of a picture's values -> how they are written."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where times (µs) and values lie in the picture."""

    first_us: int
    last_us: int
    low: float
    high: float
    height: int = HEIGHT

    def x(self, times_us: Units) -> Floats:
        """Return places from left to right."""
        span = max(1, self.last_us - self.first_us)
        return LEFT + (times_us - self.first_us) / span * (WIDTH - LEFT - RIGHT)

    def y(self, values: Floats) -> Floats:
        """Return places from top to bottom."""
        span = self.high - self.low or 1.0
        return TOP + (self.high - values) / span * (self.height - TOP - BOTTOM)


def line_chart(
    times_us: Units, values: Floats, other: tuple[Units, Floats] | None, unit: str
) -> str:
    """Return a line, with another pale one behind it."""
    both = [values, other[1]] if other is not None else [values]
    low, high = min(float(v.min()) for v in both), max(float(v.max()) for v in both)
    frame = Frame(int(times_us[0]), int(times_us[-1]), low, high)
    lines = []
    if other is not None:
        lines.append(f'<polyline class="other" points="{_points(frame, *other)}"/>')
    lines.append(f'<polyline class="line" points="{_points(frame, times_us, values)}"/>')
    return _picture(frame, lines, unit)


def area_chart(times_us: Units, falls: Floats, unit: str) -> str:
    """Return an area that hangs from zero by so much."""
    frame = Frame(int(times_us[0]), int(times_us[-1]), -float(falls.max()) or -0.01, 0.0, 200)
    top = f"{frame.y(np.zeros(1))[0]:.1f}"
    left, right = (f"{each:.1f}" for each in frame.x(times_us[[0, -1]]))
    points = f"{left},{top} {_points(frame, times_us, -falls)} {right},{top}"
    return _picture(frame, [f'<polygon class="fall" points="{points}"/>'], unit)


def _points(frame: Frame, times_us: Units, values: Floats) -> str:
    kept = _extremes(values)
    xs, ys = frame.x(times_us[kept]), frame.y(values[kept])
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs.tolist(), ys.tolist(), strict=True))


def _extremes(values: Floats) -> Units:
    """Return the places of the lowest and highest of each bucket, the first and the last."""
    count = len(values)
    if count <= 2 * POINTS_MAX:
        return np.arange(count, dtype=np.int64)
    edges = np.linspace(0, count, POINTS_MAX + 1).astype(np.int64)
    found = {0, count - 1}
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = values[start:end]
        found |= {start + int(part.argmin()), start + int(part.argmax())}
    return np.array(sorted(found), dtype=np.int64)


def _picture(frame: Frame, lines: Sequence[str], unit: str) -> str:
    marks = []
    for value in np.linspace(frame.low, frame.high, GRID).tolist():
        y = frame.y(np.array([value]))[0]
        label = f"{value:{FORMATS[unit]}}"
        marks.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        marks.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    span_days = (frame.last_us - frame.first_us) / 86_400e6
    for us in np.linspace(frame.first_us, frame.last_us, GRID + 1).astype(np.int64).tolist():
        x = float(frame.x(np.array([us]))[0])
        anchor = "start" if x < LEFT + 1 else "end" if x > WIDTH - RIGHT - 1 else "middle"
        label = _moment(utc_from_us(us), span_days)
        marks.append(
            f'<text x="{x:.1f}" y="{frame.height - 6}" text-anchor="{anchor}">{label}</text>'
        )
    body = "".join([*marks, *lines])
    return f'<svg viewBox="0 0 {WIDTH} {frame.height}" role="img">{body}</svg>'


def _moment(time: datetime, span_days: float) -> str:
    return f"{time:%Y-%m-%d}" if span_days > GRID else f"{time:%m-%d %H:%M}"
