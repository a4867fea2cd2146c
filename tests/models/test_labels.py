"""Issue 6, part 5: labels say what came after a row and when that was known; splits never peek."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.labels.forward import Labels, Series, forward_return, triple_barrier
from feature_repo.models.walk_forward import walk_forward
from lake.errors import BadInput, WrongUse

MINUTE_US = 60_000_000


def series(close: list[float], spread: float = 0.0, late_us: int = 0) -> Series:
    prices = np.array(close)
    end = np.arange(1, len(close) + 1) * MINUTE_US
    return Series(end, end + late_us, prices * (1 + spread), prices * (1 - spread), prices)


def test_a_forward_return_by_hand() -> None:
    made = forward_return(series([100, 101, 99, 99], late_us=5), 2)
    assert made.row.tolist() == [0, 1]
    assert made.value == pytest.approx([-0.01, 99 / 101 - 1])
    assert made.side.tolist() == [-1, -1]
    assert made.end_us.tolist() == [3 * MINUTE_US, 4 * MINUTE_US]
    assert made.available_us.tolist() == [3 * MINUTE_US + 5, 4 * MINUTE_US + 5]
    assert forward_return(series([100, 100.05, 98]), 1, dead_band=0.001).side.tolist() == [0, -1]


def test_a_triple_barrier_by_hand() -> None:
    bars = series([100, 100.5, 102, 97, 97, 97])
    made = triple_barrier(bars, 2, np.full(6, 0.01), up=1, down=2)
    assert made.side.tolist() == [1, 1, -1, 0]
    assert made.value == pytest.approx([0.01, 0.01, -0.02, 0.0])
    assert (made.end_us // MINUTE_US).tolist() == [3, 3, 4, 6]


def test_a_bar_that_meets_both_barriers_counts_as_the_lower_one() -> None:
    assert triple_barrier(series([100, 100], spread=0.05), 1, np.full(2, 0.01)).side.tolist() == [
        -1
    ]


def test_a_row_without_a_width_has_no_barrier_label() -> None:
    width = np.array([np.nan, 0.0, 0.01, 0.01])
    assert triple_barrier(series([1, 2, 3, 4]), 1, width).row.tolist() == [2]


PRICES = st.lists(st.floats(1, 1_000), min_size=4, max_size=40)


@given(PRICES, st.integers(1, 8), st.data())
def test_what_comes_after_a_label_is_known_does_not_change_it(
    close: list[float], horizon: int, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(close) - 1))
    other = close[:cut] + data.draw(st.lists(st.floats(1, 1_000), min_size=1, max_size=9))

    def known(prices: list[float], kind: int) -> list[tuple[object, ...]]:
        bars = series(prices, spread=0.001)
        made: Labels = (
            triple_barrier(bars, horizon, np.full(len(prices), 0.02))
            if kind
            else forward_return(bars, horizon)
        )
        assert np.all(made.available_us >= made.end_us)
        assert np.all(made.end_us > bars.end_us[made.row])
        rows = zip(made.row, made.value, made.side, made.end_us, made.available_us, strict=True)
        return [row for row in rows if row[0] + horizon < min(cut, len(other))]

    for kind in (0, 1):
        assert known(close, kind) == known(other, kind)


TIMES = st.lists(st.integers(0, 200), min_size=12, max_size=60)


@given(TIMES, st.integers(1, 30), st.integers(1, 4), st.integers(0, 10))
def test_no_training_label_reaches_into_its_test(
    times: list[int], reach: int, folds: int, embargo_us: int
) -> None:
    event = np.array(times, np.int64)
    available = event + 1 + (event * 7) % reach
    try:
        made = walk_forward(event, available, folds, embargo_us=embargo_us)
    except BadInput:
        return
    for fold in made:
        start = event[fold.test].min()
        assert np.all(available[fold.train] < start - embargo_us)
        assert np.all(event[fold.train] < start)
    tested = np.concatenate([fold.test for fold in made])
    assert len(np.unique(tested)) == len(tested)
    assert set(np.flatnonzero(event >= event[made[0].test].min())) == set(tested)


def test_too_short_a_span_is_said() -> None:
    event = np.arange(10, dtype=np.int64)
    with pytest.raises(BadInput, match="shorter horizon or embargo"):
        walk_forward(event, event + 9, 3)
    with pytest.raises(BadInput, match="longer span"):
        walk_forward(event, event, 10)
    with pytest.raises(WrongUse, match="1 to 100"):
        walk_forward(event, event, 0)
