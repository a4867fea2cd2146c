"""Money is integers: exact where it can be, half away from zero where it can't."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.trading.money import (
    UNIT,
    decimal_of,
    decimals_of,
    part,
    ppm,
    times,
    times_all,
    units,
    units_of,
)
from lake.errors import BadInput, WrongUse

PLACE = Decimal("1e-10")
PRICES = st.integers(0, 10**15)
SIZES = st.integers(-(10**13), 10**13)


def rounded(value: Decimal) -> int:
    return int(value.scaleb(10).to_integral_value(ROUND_HALF_UP))


@given(PRICES, SIZES)
def test_a_product_is_that_of_the_decimals_rounded_half_away_from_zero(a: int, b: int) -> None:
    assert times(a, b) == rounded(decimal_of(a) * decimal_of(b))


@given(st.lists(PRICES, max_size=20), SIZES)
def test_products_of_a_whole_series_are_the_products_of_each(prices: list[int], size: int) -> None:
    found = times_all(np.array(prices, np.int64), size)
    assert found.tolist() == [times(each, size) for each in prices]


@given(st.integers(-(10**18), 10**18), st.integers(-(10**6), 10**6))
def test_a_part_in_millionths(amount: int, millionths: int) -> None:
    assert part(amount, millionths) == rounded(decimal_of(amount) * millionths / 10**6)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20), st.integers(0, 5))
def test_units_come_back_from_the_lakes_decimals(values: list[int], cut: int) -> None:
    column = pa.chunked_array([decimals_of(np.array(values, np.int64))])
    assert [int(each.scaleb(10)) for each in column.to_pylist()] == values
    assert units_of(column.slice(cut), "price").tolist() == values[cut:]


def test_what_does_not_fit_is_refused_by_name() -> None:
    kind = pa.decimal128(28, 10)
    with pytest.raises(BadInput, match="column price: has 1 nulls"):
        units_of(pa.chunked_array([pa.array([None], kind)]), "price")
    with pytest.raises(BadInput, match="beyond 64 bits"):
        units_of(pa.chunked_array([pa.array([Decimal(10) ** 10], kind)]), "price")
    with pytest.raises(WrongUse, match="passes what 64 bits hold"):
        times_all(np.array([10**15], np.int64), 10**16)
    with pytest.raises(WrongUse, match="more than 10 places"):
        units("0.00000000001")
    with pytest.raises(WrongUse, match="is none"):
        units("a lot")
    with pytest.raises(WrongUse, match=r"finer than 0\.01 bp"):
        ppm("0.001")


def test_basis_points() -> None:
    assert (ppm("1"), ppm("2.5"), ppm("-0.25"), units("1.5")) == (100, 250, -25, 15 * UNIT // 10)
