"""Where the price goes: returns, means, MACD.

Exponential means take a window so long that what it cuts off is below half a unit of the last
place, 1.1e-16, of the spread of prices: (11/13)^256 = 2.7e-19 for 12 bars, (25/27)^512 = 7.7e-18
for 26, and (8/10)^256 = 1.6e-25 for the signal line's 9.
"""

from __future__ import annotations

from feature_repo.feature import Feature
from feature_repo.kernels import Values, exponential_mean, lagged, log, rolling_mean

EMA_12_BARS, EMA_26_BARS, SIGNAL_BARS = 256, 512, 256
SIMPLE, MURPHY = "any textbook", "Murphy, Technical Analysis of the Financial Markets, ch. 9"
APPEL = "Appel, Technical Analysis: Power Tools; settings 12, 26, 9 as in TA-Lib"


def simple_return(close: Values) -> Values:
    """Return the change of the close against the bar before, as a share of it."""
    return close / lagged(close, 1) - 1.0


def log_return(close: Values) -> Values:
    """Return the logarithm of the close over the bar before's."""
    return log(close / lagged(close, 1))


def sma_20(close: Values) -> Values:
    """Return the mean of 20 closes."""
    return rolling_mean(close, 20)


def ema_12(close: Values) -> Values:
    """Return the exponential mean of closes with weight 2/13; cut off at 2.7e-19."""
    return exponential_mean(close, 2 / 13, EMA_12_BARS)


def ema_26(close: Values) -> Values:
    """Return the exponential mean of closes with weight 2/27; cut off at 7.7e-18."""
    return exponential_mean(close, 2 / 27, EMA_26_BARS)


def macd(fast: Values, slow: Values) -> Values:
    """Return the fast mean less the slow one, in quote currency."""
    return fast - slow


def macd_signal(line: Values) -> Values:
    """Return the exponential mean of the MACD line with weight 2/10; cut off at 1.6e-25."""
    return exponential_mean(line, 2 / 10, SIGNAL_BARS)


def macd_histogram(line: Values, signal: Values) -> Values:
    """Return the MACD line less its signal."""
    return line - signal


MACD_BARS = EMA_26_BARS + SIGNAL_BARS - 1
TREND = (
    Feature("return_1", 1, ("close",), 2, "c[t] / c[t-1] - 1", SIMPLE, simple_return),
    Feature("log_return_1", 1, ("close",), 2, "ln(c[t] / c[t-1])", SIMPLE, log_return),
    Feature("sma_20", 1, ("close",), 20, "mean of c[t-19..t]", MURPHY, sma_20),
    Feature(
        "ema_12",
        1,
        ("close",),
        EMA_12_BARS,
        "sum of (11/13)^k c[t-k], k < 256, over the sum of the weights",
        MURPHY,
        ema_12,
    ),
    Feature(
        "ema_26",
        1,
        ("close",),
        EMA_26_BARS,
        "sum of (25/27)^k c[t-k], k < 512, over the sum of the weights",
        MURPHY,
        ema_26,
    ),
    Feature("macd", 1, ("ema_12", "ema_26"), EMA_26_BARS, "ema_12 - ema_26", APPEL, macd),
    Feature(
        "macd_signal",
        1,
        ("macd",),
        MACD_BARS,
        "sum of (8/10)^k macd[t-k], k < 256, over the sum of the weights",
        APPEL,
        macd_signal,
    ),
    Feature(
        "macd_histogram",
        1,
        ("macd", "macd_signal"),
        MACD_BARS,
        "macd - macd_signal",
        APPEL,
        macd_histogram,
    ),
)
