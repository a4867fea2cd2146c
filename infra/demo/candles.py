"""Draw candles: to a PNG, and in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from rich.text import Text

UP, DOWN = "#26a269", "#c01c28"
ROWS = 12
COLUMNS_MAX = 60


@dataclass(frozen=True, slots=True)
class Candle:
    """One bar: prices and volume as floats, for the eye only."""

    label: str
    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def colour(self) -> str:
        """Green for a rise, red for a fall."""
        return UP if self.close >= self.open else DOWN


def terminal_candles(candles: Sequence[Candle], rows: int = ROWS) -> Text:
    """Return a chart of so many rows, a column a candle, prices at the right."""
    shown = candles[-COLUMNS_MAX:]
    low, high = min(c.low for c in shown), max(c.high for c in shown)
    step = (high - low) / rows or 1.0
    text = Text()
    for row in range(rows):
        top = high - row * step
        for candle in shown:
            text.append(_cell(candle, top - step, top), candle.colour)
            text.append(" ")
        text.append(f" {top:,.2f}\n" if row % 3 == 0 else "\n", "dim")
    text.append(f"{shown[0].label}{shown[-1].label:>{max(1, 2 * len(shown) - 8)}}\n", "dim")
    return text


def _cell(candle: Candle, bottom: float, top: float) -> str:
    body_low, body_high = sorted((candle.open, candle.close))
    if body_high >= bottom and body_low <= top and (body_high > bottom or top >= body_high):
        return "█"
    return "│" if candle.high > bottom and candle.low < top else " "


def draw_png(candles: Sequence[Candle], title: str, path: Path) -> None:
    """Write a chart of prices with volume below."""
    figure = Figure(figsize=(11, 6), dpi=110, layout="constrained")
    prices, volumes = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    at = range(len(candles))
    colours = [candle.colour for candle in candles]
    prices.vlines(at, [c.low for c in candles], [c.high for c in candles], colors=colours, lw=1.4)
    spread = max(c.high for c in candles) - min(c.low for c in candles)
    heights = [max(abs(c.close - c.open), spread / 400) for c in candles]
    bottoms = [min(c.open, c.close) for c in candles]
    prices.bar(at, heights, 0.7, bottom=bottoms, color=colours)
    volumes.bar(at, [c.volume for c in candles], 0.7, color=colours, alpha=0.6)
    prices.set_title(title, loc="left", fontsize=13, fontweight="bold", color="#222")
    prices.set_ylabel("price")
    volumes.set_ylabel("volume")
    every = max(1, len(candles) // 12)
    volumes.set_xticks(list(at)[::every], [c.label for c in candles][::every])
    prices.ticklabel_format(axis="y", style="plain", useOffset=False)
    for axes in (prices, volumes):
        axes.grid(axis="y", color="#ddd", lw=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors="#444", labelsize=9)
    figure.savefig(path)
