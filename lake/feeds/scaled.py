"""Doubles to exact decimals, by the column.

A decimal of at most 15 significant digits is the only such decimal that its nearest double stands
for. So n / 10^s == x, with n a whole number below 10^15, proves that x was written as n * 10^-s;
division of two exact doubles is correctly rounded (IEEE 754).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

SCALE = 10
PRECISION = 28
EXACT_BELOW = 1e15
TRIED_SCALES = (8, 10, 4, 0)
"""Most prices and sizes have at most eight decimals; the others are tried on what is left."""

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


def scaled(values: Float64) -> tuple[Int64, Bool]:
    """Return values * 10^10 as integers, and where that is exact; elsewhere the integer is 0.

    Not exact: not finite, more than 15 digits, more than ten decimals, 9.2e8 or more.
    """
    plain = _plain(values)
    if plain is not None:
        return plain, np.ones(len(values), np.bool_)
    out = np.zeros(len(values), np.int64)
    exact = np.zeros(len(values), np.bool_)
    left = np.arange(len(values))
    with np.errstate(invalid="ignore", over="ignore"):
        for scale in TRIED_SCALES:
            x = values[left]
            n = np.rint(x * 10.0**scale)
            room = 10.0**15 if scale >= SCALE else min(EXACT_BELOW, 9.2e8 * 10.0**scale)
            found = (np.abs(n) < room) & (n / 10.0**scale == x)
            at = left[found]
            out[at] = n[found].astype(np.int64) * 10 ** (SCALE - scale)
            exact[at] = True
            left = left[~found]
            if not len(left):
                break
    return out, exact


def _plain(values: Float64) -> Int64 | None:
    """Return the usual case, all of them with at most eight decimals, at a third of the cost."""
    scale = TRIED_SCALES[0]
    with np.errstate(invalid="ignore", over="ignore"):
        n = np.rint(values * 10.0**scale)
        if not ((np.abs(n) < EXACT_BELOW) & (n / 10.0**scale == values)).all():
            return None
    return np.asarray(n.astype(np.int64) * 10 ** (SCALE - scale), np.int64)


def decimals(whole: Int64) -> pa.Array:
    """Return integers scaled by 10^10 as a decimal128(28, 10) array."""
    halves = np.empty((len(whole), 2), np.int64)
    halves[:, 0] = whole
    halves[:, 1] = whole >> 63
    return pa.Array.from_buffers(
        pa.decimal128(PRECISION, SCALE), len(whole), [None, pa.py_buffer(halves.tobytes())]
    )
