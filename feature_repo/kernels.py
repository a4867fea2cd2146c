"""Arithmetic over windows that gives the same bits wherever the window starts.

Every kernel is a fixed tree of additions, multiplications, divisions and square roots per row, of
the last n rows and nothing else: IEEE 754 rounds each of these in one way, so neither the start of
the array, nor its length, nor the machine changes a bit. Sums double: a window of 2m is that of the
last m and that of the m before, which is one vector operation per doubling. A running sum would
carry its start along; a matrix product picks its order by the shape.

Arrays are float64 and one-dimensional, oldest first; a result is as long, and NaN where its window
begins before the array does or holds a NaN.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

SQRT_HALF = 0.7071067811865476
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
LOG_ODD = (
    6.666666666666735130e-01,
    2.857142874366239149e-01,
    1.818357216161805012e-01,
    1.479819860511658591e-01,
)
LOG_EVEN = (3.999999999940941908e-01, 2.222219843214978396e-01, 1.531383769920937332e-01)
"""Coefficients of fdlibm's e_log.c (Sun Microsystems, 1993)."""


def lagged(values: Values, lag: int) -> Values:
    """Return each row's value `lag` rows before; NaN where there is none."""
    out = np.full(len(values), np.nan)
    if lag < len(values):
        out[lag:] = values[: len(values) - lag]
    return out


def rolling_sum(values: Values, rows: int) -> Values:
    """Return the sum of the last `rows` values, at least 1, this one included."""
    assert rows >= 1
    doubled, width = values, 1
    total: Values | None = None
    taken = 0
    while True:
        if rows & width:
            part = lagged(doubled, taken) if taken else doubled
            total = part if total is None else total + part
            taken += width
        if taken == rows:
            assert total is not None
            return total
        doubled = doubled + lagged(doubled, width)
        width *= 2


def rolling_mean(values: Values, rows: int) -> Values:
    """Return the mean of the last `rows` values."""
    return rolling_sum(values, rows) / rows


def rolling_deviation(values: Values, rows: int) -> Values:
    """Return the standard deviation of the last `rows` values (of the population: by `rows`).

    In two passes, around each window's own mean: a difference of sums of squares loses digits. All
    is measured from the newest value, so that a window of one value has a deviation of exactly 0.
    """
    mean = np.zeros(len(values))
    for lag in range(rows):
        mean += lagged(values, lag) - values
    mean /= rows
    total = np.zeros(len(values))
    for lag in range(rows):
        apart = (lagged(values, lag) - values) - mean
        total += apart * apart
    return np.asarray(np.sqrt(total / rows))


def rolling_products(one: Values, other: Values, rows: int) -> tuple[Values, Values, Values]:
    """Return the sums of squares and products around the means of the last `rows` pairs.

    As (one * one, one * other, other * other). In two passes, and measured from the newest pair, as
    rolling_deviation is and for its reasons: a window of one value has squares of exactly 0.
    """
    means = [np.zeros(len(one)), np.zeros(len(one))]
    for lag in range(rows):
        for mean, values in zip(means, (one, other), strict=True):
            mean += lagged(values, lag) - values
    for mean in means:
        mean /= rows
    squares, products, others = (np.zeros(len(one)) for _ in range(3))
    for lag in range(rows):
        x = (lagged(one, lag) - one) - means[0]
        y = (lagged(other, lag) - other) - means[1]
        squares += x * x
        products += x * y
        others += y * y
    return squares, products, others


def decayed_sum(values: Values, decay: float, rows: int) -> Values:
    """Return the sum over k of decay^k times the value k rows before, k in [0, rows).

    rows: a power of two.
    """
    assert rows.bit_count() == 1
    total, width = values, 1
    while width < rows:
        total = total + decay * lagged(total, width)
        decay *= decay
        width *= 2
    return total


def exponential_mean(values: Values, smoothing: float, rows: int) -> Values:
    """Return the exponential mean of the last `rows` values, its weights adding up to 1.

    smoothing: weight of the newest value, in (0, 1). Against the endless recursion
    e += smoothing * (value - e) it is off by at most (1 - smoothing)^rows of the spread of values.
    """
    decay = 1.0 - smoothing
    left = decay
    for _ in range(rows.bit_length() - 1):
        left *= left
    return decayed_sum(values, decay, rows) * (smoothing / (1.0 - left))


def rolling_max(values: npt.NDArray[np.int64], rows: int) -> npt.NDArray[np.int64]:
    """Return the largest of the last `rows` integers, of those that there are."""
    out, width = values, 1
    while width < rows:
        step = min(width, rows - width)
        longer = out.copy()
        np.maximum(out[step:], out[: max(len(out) - step, 0)], out=longer[step:])
        out = longer
        width += step
    return out


def log(values: Values) -> Values:
    """Return the natural logarithm, within one unit of the last place; NaN where not above 0.

    numpy's own takes another path by processor and by an array's length; this is fdlibm's e_log.c
    in plain operations.
    """
    mantissa, exponent = np.frexp(np.where(values > 0, values, np.nan))
    low = mantissa < SQRT_HALF
    f = np.where(low, mantissa * 2.0, mantissa) - 1.0
    k = np.where(low, exponent - 1, exponent).astype(np.float64)
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (LOG_EVEN[0] + w * (LOG_EVEN[1] + w * LOG_EVEN[2]))
    odd = z * (LOG_ODD[0] + w * (LOG_ODD[1] + w * (LOG_ODD[2] + w * LOG_ODD[3])))
    half = 0.5 * f * f
    return np.asarray(k * LN2_HIGH - ((half - (s * (half + even + odd) + k * LN2_LOW)) - f))
