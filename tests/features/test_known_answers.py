"""Published values of TA-Lib and StockCharts, and the recursions that windows stand for."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from feature_repo.features.momentum import moves, rsi_14, rsi_14_wilder, share
from feature_repo.features.trend import ema_12, ema_26, sma_20
from feature_repo.features.volatility import atr_14, bollinger_lower, bollinger_upper, deviation_20
from feature_repo.kernels import Values, decayed_sum, rolling_mean

GOLDEN = Path(os.environ.get("TICKLAKE_DATA", "../shared/data")) / "ta_golden"

# StockCharts ChartSchool's worksheet of RSI (QQQQ, from 14 December 2009), as published
CLOSES = (
    "44.3389 44.0902 44.1497 43.6124 44.3278 44.8264 45.0955 45.4245 45.8433 46.0826 45.8931"
    " 46.0328 45.6140 46.2820 46.2820 46.0028 46.0328 46.4116 46.2222 45.6439"
)
RSI = (70.53, 66.32, 66.55, 69.41, 66.36, 57.97)


def padded(values: Values, rows: int) -> Values:
    """Let a window of `rows` begin before the values do: the kernels then expand."""
    return np.concatenate([np.zeros(rows - 1), values])


def recursive(values: Values, smoothing: float, seed: float) -> Values:
    """Return the endless recursion from a seed, by the kernel with an expanding window."""
    rows = 1 << len(values).bit_length()
    scaled = np.concatenate([[seed / smoothing], values])
    out = decayed_sum(padded(scaled, rows), 1 - smoothing, rows)[rows - 1 :]
    return np.asarray(out * smoothing)


def wilder(close: Values) -> Values:
    """Return Wilder's RSI as published: a simple mean of the first 14 moves, then smoothed."""
    up, down = (each[1:] for each in moves(close))
    means = [recursive(each[14:], 1 / 14, float(each[:14].mean())) for each in (up, down)]
    return share(*means)


def reference() -> tuple[dict[str, Values], dict[str, dict]]:
    if not GOLDEN.exists():
        pytest.skip(f"no recorded vectors in {GOLDEN}")
    with (GOLDEN / "talib_regtest/talib_ref_252.csv").open() as source:
        rows = list(csv.DictReader(source))
    columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    return columns, json.loads((GOLDEN / "talib_regtest/expected.json").read_text())


def test_wilders_rsi_is_that_of_the_published_worksheet() -> None:
    close = np.array([float(each) for each in CLOSES.split()])
    assert np.round(wilder(close), 2).tolist() == list(RSI)


def test_simple_rsi_starts_where_wilders_does() -> None:
    close = np.array([float(each) for each in CLOSES.split()])
    with np.errstate(all="ignore"):
        assert round(float(rsi_14(close)[14]), 2) == RSI[0]


def test_stockcharts_rsi_to_its_end() -> None:
    if not GOLDEN.exists():
        pytest.skip(f"no recorded vectors in {GOLDEN}")
    golden = json.loads((GOLDEN / "stockcharts_rsi.json").read_text())
    found = wilder(np.array(golden["closes"]))
    assert np.abs(found - golden["rsi14_from_index_14"]).max() < 0.01


def test_talibs_rsi() -> None:
    columns, expected = reference()
    found = wilder(columns["close"])
    for at, value in expected["RSI"]["values"].items():
        assert found[int(at) - 14] == pytest.approx(value, abs=0.01)


def test_talibs_means() -> None:
    columns, expected = reference()
    close = columns["close"]
    for case in expected["SMA"]:
        found = rolling_mean(close, case["period"])
        for at, value in case["values"].items():
            assert found[int(at)] == pytest.approx(value, abs=0.01)
    for case in expected["EMA"]:
        n = case["period"]
        found = recursive(close[n:], 2 / (n + 1), float(close[:n].mean()))
        for at, value in case["values"].items():
            assert found[int(at) - n + 1] == pytest.approx(value, abs=0.01)


def test_talibs_macd_and_bollinger_bands() -> None:
    columns, expected = reference()
    close, at = columns["close"], 33
    fast = recursive(close[26:], 2 / 13, float(close[14:26].mean()))
    slow = recursive(close[26:], 2 / 27, float(close[:26].mean()))
    line = fast - slow
    signal = recursive(line[9:], 2 / 10, float(line[:9].mean()))
    golden = expected["MACD"]["values"][str(at)]
    assert line[8] == pytest.approx(golden["macd"], abs=1e-4)
    assert signal[0] == pytest.approx(golden["signal"], abs=1e-4)
    assert line[8] - signal[0] == pytest.approx(golden["hist"], abs=1e-4)

    bands = expected["BBANDS"]["values"]["19"]
    middle, deviation = sma_20(close), deviation_20(close)
    found = (bollinger_upper(middle, deviation), middle, bollinger_lower(middle, deviation))
    for values, name in zip(found, ("upper", "middle", "lower"), strict=True):
        assert values[19] == pytest.approx(bands[name], abs=1e-4)


def test_windows_cut_off_less_than_rounding_does() -> None:
    random = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, 4_000)))
    high, low = close * 1.01, close * 0.99
    for found, smoothing in ((ema_12(close), 2 / 13), (ema_26(close), 2 / 27)):
        mean = close[0]
        for value in close[1:]:
            mean += smoothing * (value - mean)
        assert found[-1] == pytest.approx(mean, rel=1e-14)
    up, down = moves(close)
    rise, fall, true = up[1], down[1], 0.0
    for at in range(1, len(close)):
        rise += (up[at] - rise) / 14
        fall += (down[at] - fall) / 14
        spread = max(high[at], close[at - 1]) - min(low[at], close[at - 1])
        true = spread if at == 1 else true + (spread - true) / 14
    assert rsi_14_wilder(close)[-1] == pytest.approx(100 * rise / (rise + fall), rel=1e-13)
    assert atr_14(high, low, close)[-1] == pytest.approx(true, rel=1e-13)
