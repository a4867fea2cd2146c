"""A lineage graph as PNG."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path as File

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from infra.lineage.layout import HEAD_HEIGHT, Box, Layout

DPI = 100
PIXELS_MAX = 20_000
"""Of either side: what a picture's reader still opens."""

INK, PALE, ASKED, RULE, EDGE, HEAD = (
    *("#1c2330", "#3d4757", "#0f6bd0", "#c9d0da", "#8ba3c0", "#eef2f7"),
)
FONT = "DejaVu Sans Mono"


def write_png(picture: Layout, asked: Collection[str], path: File) -> None:
    """Write the picture; one larger than PIXELS_MAX is made smaller as a whole."""
    scale = min(1.0, PIXELS_MAX / max(picture.width, picture.height))
    size = (picture.width * scale / DPI, picture.height * scale / DPI)
    figure = Figure(figsize=size, dpi=DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, picture.width)
    axes.set_ylim(picture.height, 0)
    axes.axis("off")
    for edge in picture.edges:
        _draw_edge(axes, picture, edge.source, edge.target)
    for box in picture.boxes.values():
        _draw_box(axes, box, asked, scale)
    figure.savefig(path)


def _draw_edge(axes: Axes, picture: Layout, source: str, target: str) -> None:
    (left, start), (right, end) = source.rsplit(".", 1), target.rsplit(".", 1)
    a, b = picture.boxes[left], picture.boxes[right]
    y0, y1 = a.row_y(start), b.row_y(end)
    x0 = a.x + a.width
    x1 = x0 if left == right else b.x
    middle = x0 + 34 if left == right else (x0 + x1) / 2
    way = Path(
        [(x0, y0), (middle, y0), (middle, y1), (x1, y1)],
        [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
    )
    axes.add_patch(PathPatch(way, fill=False, ec=EDGE, lw=1))


def _draw_box(axes: Axes, box: Box, asked: Collection[str], scale: float) -> None:
    style = "round,pad=0,rounding_size=6"
    for height, colour in ((box.height, "white"), (HEAD_HEIGHT - 2, HEAD)):
        corner = (box.x, box.y)
        axes.add_patch(
            FancyBboxPatch(corner, box.width, height, boxstyle=style, fc=colour, ec=RULE, lw=1)
        )
    size = 9.2 * scale
    axes.text(
        *(box.x + 12, box.y + HEAD_HEIGHT / 2, box.dataset),
        family=FONT, fontsize=size, fontweight="bold", color=INK, va="center",
    )  # fmt: skip
    for column in box.columns:
        marked = f"{box.dataset}.{column}" in asked
        axes.text(
            *(box.x + 12, box.row_y(column), column),
            family=FONT, fontsize=size, color=ASKED if marked else PALE, va="center",
            fontweight="bold" if marked else "normal",
        )  # fmt: skip
