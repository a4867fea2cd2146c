"""Money, prices and sizes as integers: units of 1e-10, the last place of the contracts' decimals.

A sum of integers is the same in any order and on any machine, and nothing is lost to a float.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.errors import BadInput, WrongUse

PLACES = 10
UNIT: int = 10**PLACES
"""Units in one of anything: a price of 1.0, a size of 1.0."""

MILLION = 10**6
"""Rates (fees, spreads, slippage) are in millionths: a basis point is 100."""

PPM_PER_BP = 100
UNITS_MAX = 2**63 - 1

Units = npt.NDArray[np.int64]

_HALF = UNIT // 2
_ROOT = 10**5


def units(value: str | int | Decimal) -> int:
    """Return a number in units; WrongUse for one that is none, or has more than 10 places."""
    try:
        scaled = Decimal(value).scaleb(PLACES)
        if scaled != scaled.to_integral_value():
            raise WrongUse(f"number {value}", f"has more than {PLACES} places", "round it")
    except (InvalidOperation, ValueError) as error:
        raise WrongUse(f"number {value!r}", "is none", "write it as 1.25") from error
    return int(scaled)


def decimal_of(amount: int) -> Decimal:
    """Return units as a decimal with 10 places."""
    return Decimal(amount).scaleb(-PLACES)


def ppm(basis_points: str | Decimal) -> int:
    """Return basis points in millionths; WrongUse for what is finer than 0.01 bp."""
    scaled = units(basis_points) * PPM_PER_BP
    if scaled % UNIT:
        raise WrongUse(f"{basis_points} bp", "is finer than 0.01 bp", "round it")
    return scaled // UNIT


def times(price: int, size: int) -> int:
    """Return price times size in units of money, half away from zero."""
    product = price * size
    return (product + _HALF) // UNIT if product >= 0 else -((_HALF - product) // UNIT)


def part(amount: int, millionths: int) -> int:
    """Return so many millionths of an amount, half away from zero."""
    product = amount * millionths
    half = MILLION // 2
    return (product + half) // MILLION if product >= 0 else -((half - product) // MILLION)


def times_all(prices: Units, size: int) -> Units:
    """Return each price times a size, to the same unit as `times`.

    prices: at least 0. size: of either sign. WrongUse where a product passes 2^63 units, some 900
    million in money.
    """
    most = int(prices.max(initial=0))
    if times(most, abs(size)) > UNITS_MAX or int(prices.min(initial=0)) < 0:
        fault = "passes what 64 bits hold, or a price is below zero"
        raise WrongUse("value of a position", fault, "take a smaller size")
    size_whole, size_rest = divmod(abs(size), UNIT)
    whole, rest = np.divmod(prices, UNIT)
    # rest * size_rest is up to 1e20: it is multiplied by halves of five places each
    high, low = np.divmod(rest, _ROOT)
    size_high, size_low = divmod(size_rest, _ROOT)
    middle = (high * size_low + low * size_high) * _ROOT + low * size_low + _HALF
    product: Units = prices * size_whole + whole * size_rest + high * size_high + middle // UNIT
    return product if size >= 0 else -product


def units_of(column: pa.ChunkedArray, name: str) -> Units:
    """Return a column of decimal(p, 10) as units, without a copy per row.

    BadInput for a null, or a value beyond 64 bits.
    """
    flat: Any = column.cast(pa.decimal128(28, PLACES)).combine_chunks()
    if isinstance(flat, pa.ChunkedArray):
        flat = pa.concat_arrays(flat.chunks) if flat.num_chunks else pa.array([], column.type)
    if flat.null_count:
        raise BadInput(f"column {name}", f"has {flat.null_count:,} nulls", "choose another span")
    if not len(flat):
        return np.empty(0, np.int64)
    words = np.frombuffer(flat.buffers()[1], "<i8")[2 * flat.offset :][: 2 * len(flat)]
    low, high = words[::2], words[1::2]
    if not np.array_equal(high, low >> 63):
        raise BadInput(f"column {name}", "has a value beyond 64 bits", "leave that ticker out")
    return np.ascontiguousarray(low)


def decimals_of(amounts: Units) -> pa.Array:
    """Return units as decimal(28, 10), without a copy per row."""
    words = np.empty(2 * len(amounts), "<i8")
    words[::2] = amounts
    words[1::2] = amounts >> 63
    kind = pa.decimal128(28, PLACES)
    return pa.Array.from_buffers(kind, len(amounts), [None, pa.py_buffer(words.tobytes())])
