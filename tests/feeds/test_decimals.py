"""Prices and sizes are exact or refused; the columnar way agrees."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lake.errors import BadFrame
from lake.feeds.decimals import exact
from lake.feeds.scaled import decimals, scaled

spellings = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.from_regex(r"-?[0-9]{0,20}\.?[0-9]{0,14}(e[-+]?[0-9]{1,2})?", fullmatch=True),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)


def fits(number: Fraction) -> bool:
    return abs(number) < 10**18 and (number * 10**10).denominator == 1


@given(spellings)
@example("123456789012345678.12345678901")
@example("1.00000000000000000000000000000000001")
@example("999999999999999999.9999999999")
@example("0e999")
@example("-0.0")
def test_text_is_its_own_decimal_or_refused_and_never_rounded(text: str) -> None:
    try:
        truth = Fraction(text)
    except ValueError:
        with pytest.raises(BadFrame, match="not a number"):
            exact(text, "p")
        return
    if fits(truth):
        assert Fraction(exact(text, "p")) == truth
        assert exact(text, "p").as_tuple().exponent == -10
    else:
        with pytest.raises(BadFrame) as refusal:
            exact(text, "p")
        assert refusal.value.remedy in ("precision", "not_a_number")


@pytest.mark.parametrize(
    "value", ["", ".", "nan", "1_000", "\uff11", "0x1", " 1", "1 ", "1e", "--1"]
)
def test_what_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(BadFrame, match="not a number"):
        exact(value, "p")


@given(
    st.lists(
        st.one_of(
            st.floats(),
            st.integers(0, 10**15).map(lambda n: n / 10**8),
            st.decimals(-(10**6), 10**6, places=10).map(float),
        )
    )
)
@example([922_337_203.6854775807, 922_337_203.7, 9.2e8, 0.1 + 0.2, 1e-10, 1e-11])
def test_column_of_doubles_is_exact_where_it_says_so(values: list[float]) -> None:
    whole, right = scaled(np.asarray(values, np.float64))
    found = decimals(whole).to_pylist()
    for value, number, sure in zip(values, found, right.tolist(), strict=True):
        if sure:
            assert number == exact(value, "p")
        else:
            assert number == Decimal(0)
