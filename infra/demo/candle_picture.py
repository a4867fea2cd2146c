"""Draw candles to a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infra.demo.candles import Candle

RISE, FALL = "#0f8b6d", "#c8452f"
RISE_PALE, FALL_PALE = "#a3d3c7", "#ebb9b0"
INK, PALE, RULE = "#1c2330", "#6b7482", "#e6e9ee"
BODY_WIDTH = 0.64
BODY_HEIGHT_MIN = 1 / 300
"""Of the span of prices: a candle that closed where it opened is still seen."""

LABELS_MAX = 11
DPI = 130


def draw_candles(found: Sequence[Candle], title: str, subtitle: str, path: Path) -> None:
    """Write a chart of prices with volume below; path ends in .png."""
    figure = Figure(figsize=(11, 6.2), dpi=DPI, facecolor="white")
    grid = figure.add_gridspec(
        2, 1, height_ratios=[4, 1], hspace=0.06, left=0.035, right=0.915, top=0.86, bottom=0.075
    )
    prices = figure.add_subplot(grid[0])
    volumes = figure.add_subplot(grid[1], sharex=prices)
    figure.text(0.035, 0.94, title, fontsize=15, fontweight="bold", color=INK)
    figure.text(0.035, 0.895, subtitle, fontsize=9.5, color=PALE)
    _draw_prices(prices, found)
    _draw_volumes(volumes, found)
    for axes in (prices, volumes):
        _plain(axes)
    figure.savefig(path)


def _draw_prices(axes: Axes, found: Sequence[Candle]) -> None:
    at, colours = range(len(found)), [_colour(candle) for candle in found]
    low, high = min(c.low for c in found), max(c.high for c in found)
    least = (high - low) * BODY_HEIGHT_MIN
    bottoms = [min(c.open, c.close) for c in found]
    heights = [max(abs(c.close - c.open), least) for c in found]
    axes.vlines(at, [c.low for c in found], [c.high for c in found], colors=colours, lw=1.3)
    axes.bar(at, heights, BODY_WIDTH, bottom=bottoms, color=colours, zorder=3)
    axes.set_xlim(-0.8, len(found) - 0.2)
    axes.yaxis.set_major_formatter(lambda price, _: f"{price:,.2f}")
    axes.tick_params(labelbottom=False)
    _mark_last(axes, found[-1])


def _mark_last(axes: Axes, last: Candle) -> None:
    axes.axhline(last.close, color=_colour(last), lw=0.8, ls=(0, (4, 3)), zorder=2)
    axes.annotate(
        f"{last.close:,.2f}",
        (1, last.close),
        xycoords=axes.get_yaxis_transform(),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        fontweight="bold",
        color="white",
        bbox={"boxstyle": "round,pad=0.3", "fc": _colour(last), "ec": "none"},
        annotation_clip=False,
        zorder=5,
    )


def _draw_volumes(axes: Axes, found: Sequence[Candle]) -> None:
    at, colours = range(len(found)), [RISE_PALE if c.rises else FALL_PALE for c in found]
    axes.bar(at, [c.volume for c in found], BODY_WIDTH, color=colours)
    axes.locator_params(axis="y", nbins=3)
    axes.yaxis.set_major_formatter(lambda volume, _: f"{volume:,.6g}")
    axes.text(0.006, 0.86, "volume", transform=axes.transAxes, fontsize=9, color=PALE)
    axes.margins(y=0.2)
    every = -(-len(found) // LABELS_MAX)
    axes.set_xticks(list(at)[::every], [c.label for c in found][::every])


def _plain(axes: Axes) -> None:
    axes.yaxis.tick_right()
    axes.grid(axis="y", color=RULE, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=PALE, labelsize=9, length=0)


def _colour(candle: Candle) -> str:
    return RISE if candle.rises else FALL
