"""A feature's value is a function of its last bars, to the bit, however they are cut."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.compute import features_of
from feature_repo.feature_set import MARKET, feature_set
from feature_repo.kernels import log, rolling_max
from lake.bars.kernel import SERIES
from lake.errors import BadInput, WrongUse
from tests.features.bars import walk

ROWS = 2_000
BARS = walk(ROWS)
WHOLE = features_of(BARS, MARKET)


def bits(table: pa.Table, name: str) -> list[int | None]:
    return [
        None if value is None else int(np.float64(value).view(np.int64))
        for value in table[name].to_pylist()
    ]


@settings(max_examples=30, deadline=None)
@given(start=st.integers(0, ROWS - 1), length=st.integers(1, ROWS))
def test_any_start_and_length_gives_the_same_bits(start: int, length: int) -> None:
    part = features_of(BARS.slice(start, length), MARKET)
    for feature in MARKET.features:
        full = feature.lookback - 1 if start else 0
        there = WHOLE.slice(start, length).slice(full)
        assert bits(part.slice(full), feature.name) == bits(there, feature.name), feature.name


@settings(max_examples=10, deadline=None)
@given(rows=st.integers(97, 3_000))
def test_any_batch_size_gives_the_same_bits(rows: int) -> None:
    assert features_of(BARS, MARKET, block_rows=rows).equals(WHOLE)


@pytest.mark.parametrize("feature", MARKET.features, ids=lambda f: f.name)
def test_the_last_lookback_bars_are_what_live_needs_and_one_less_gives_null(feature) -> None:
    whole = bits(WHOLE, feature.name)
    assert whole[: feature.lookback - 1] == [None] * (feature.lookback - 1)
    for at in (feature.lookback - 1, 1_000, ROWS - 1):
        live = features_of(BARS.slice(at - feature.lookback + 1, feature.lookback), MARKET)
        assert bits(live, feature.name)[-1] == whole[at] is not None
        short = features_of(BARS.slice(at - feature.lookback + 2, feature.lookback - 1), MARKET)
        if short.num_rows:
            assert bits(short, feature.name)[-1] is None


def test_series_side_by_side_do_not_touch_each_other() -> None:
    others = [walk(n, ticker=t, seed=n) for n, t in ((900, "X:ADAUSD"), (30, "X:ETHUSD"))]
    alone = [features_of(each, MARKET) for each in (others[0], BARS, others[1])]
    together = features_of(pa.concat_tables([others[0], BARS, others[1]]), MARKET)
    assert together.equals(pa.concat_tables(alone))
    assert together.column_names[:5] == [*SERIES, "interval", "event_time"]


def test_event_time_is_the_end_of_the_bar() -> None:
    ends, starts = (t["event_time"].cast(pa.int64()).to_numpy() for t in (WHOLE, BARS))
    assert set(ends - starts) == {60_000_000}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None])
def test_a_bad_input_makes_its_windows_null(bad: float | None) -> None:
    closes = BARS["close"].cast(pa.float64()).to_pylist()
    closes[1_000] = bad
    at = BARS.column_names.index("close")
    bars = BARS.set_column(at, "close", pa.array(closes, pa.float64()))
    found = features_of(bars, MARKET)
    for feature in MARKET.features:
        mine, all_right = bits(found, feature.name), bits(WHOLE, feature.name)
        ended = 1_000 + feature.lookback
        assert mine[:1_000] == all_right[:1_000]
        assert mine[ended:] == all_right[ended:]
    assert found["sma_20"].slice(1_000, 20).null_count == 20


def test_a_flat_price_has_no_rsi_and_no_place_in_its_band() -> None:
    flat = pa.array([0.1] * ROWS)
    bars = BARS
    for name in ("open", "high", "low", "close", "volume"):
        bars = bars.set_column(bars.column_names.index(name), name, flat)
    found = features_of(bars, MARKET)
    for name in ("rsi_14", "rsi_14_wilder", "bollinger_percent_b", "volume_zscore_20"):
        assert found[name].null_count == ROWS
    assert found["deviation_20"].to_pylist()[-1] == 0.0


def test_bars_in_disorder_are_refused() -> None:
    with pytest.raises(BadInput, match="goes back in time"):
        features_of(BARS.take(pa.array([1, 0])), MARKET)
    pieces = pa.concat_tables([BARS.slice(0, 5), walk(3, ticker="X:ETHUSD"), BARS.slice(5, 5)])
    with pytest.raises(BadInput, match="two pieces"):
        features_of(pieces, MARKET)
    with pytest.raises(BadInput, match="column volume"):
        features_of(BARS.drop_columns("volume"), MARKET)


def test_no_bars_give_no_rows() -> None:
    assert features_of(BARS.slice(0, 0), MARKET).schema == WHOLE.schema


def test_sets_are_known_by_name_and_version() -> None:
    assert feature_set("market") is feature_set("market", 1) is MARKET
    with pytest.raises(WrongUse, match="version 9: there is no such set"):
        feature_set("market", 9)
    with pytest.raises(WrongUse, match="one of: return_1"):
        MARKET.feature("rsi_15")


@given(st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=40))
def test_log_is_within_a_unit_of_the_last_place(values: list[float]) -> None:
    ours, numpys = log(np.array(values)), np.log(values)
    assert (np.abs(ours - numpys) <= 2 * np.spacing(np.abs(numpys))).all()


@given(st.lists(st.integers(-9, 9), max_size=40), st.integers(1, 50))
def test_rolling_max_is_that_of_the_last_rows(values: list[int], rows: int) -> None:
    expected = [max(values[max(0, at - rows + 1) : at + 1]) for at in range(len(values))]
    assert rolling_max(np.array(values, np.int64), rows).tolist() == expected
