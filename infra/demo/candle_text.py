"""Draw candles in a terminal, in half lines: wicks are light, bodies heavy."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from infra.demo.candles import Candle

ROWS = 14
ROWS_PER_PRICE = 3
COLUMNS_PER_CANDLE = (3, 2, 1)
"""The widest that fits is taken."""

PRICE_COLUMNS = 14
RISE, FALL = "green", "red"
STROKES = {
    (0, 0): " ",
    (0, 1): "╷",
    (1, 0): "╵",
    (1, 1): "│",
    (0, 2): "╻",
    (2, 0): "╹",
    (2, 2): "┃",
    (1, 2): "╽",
    (2, 1): "╿",
}
"""By weight of the upper and of the lower half: nothing, wick, body."""

BARS = " ▁▂▃▄▅▆▇█"


def terminal_candles(found: Sequence[Candle], width: int) -> Text:
    """Return a chart at most this many columns wide, prices at its right and volume below.

    Of more candles than fit, the last are drawn.
    """
    room = max(1, width - PRICE_COLUMNS)
    each = next((c for c in COLUMNS_PER_CANDLE if c * len(found) <= room), COLUMNS_PER_CANDLE[-1])
    shown = found[-(room // each) :]
    text = Text()
    _prices(text, shown, each)
    _volumes(text, shown, each)
    first, last = shown[0].label, shown[-1].label
    text.append(f"{first}{last:>{max(0, each * (len(shown) - 1) + 1 - len(first))}}\n", "dim")
    return text


def _prices(text: Text, shown: Sequence[Candle], each: int) -> None:
    low, high = min(c.low for c in shown), max(c.high for c in shown)
    half = (high - low) / (2 * ROWS) or 1.0
    for row in range(ROWS):
        top = high - 2 * row * half
        for candle in shown:
            halves = (_weight(candle, top - half, top), _weight(candle, top - 2 * half, top - half))
            text.append(f"{STROKES[halves]:{each}}", RISE if candle.rises else FALL)
        text.append(f"{top - half:12,.2f}\n" if row % ROWS_PER_PRICE == 1 else "\n", "dim")


def _weight(candle: Candle, bottom: float, top: float) -> int:
    """Return 2 where the body fills most of a half line or lies in it, 1 for the wick, else 0."""
    low, high = sorted((candle.open, candle.close))
    middle = (bottom + top) / 2
    if low <= middle <= high or bottom <= low <= high < top:
        return 2
    return 1 if candle.low <= middle <= candle.high else 0


def _volumes(text: Text, shown: Sequence[Candle], each: int) -> None:
    most = max(c.volume for c in shown) or 1.0
    for candle in shown:
        level = round(candle.volume / most * (len(BARS) - 1))
        text.append(f"{BARS[level]:{each}}", RISE if candle.rises else FALL)
    text.append(f"{'volume':>12}\n", "dim")
