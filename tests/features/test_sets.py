"""Sets of quotes, scores and pairs: the same bits of the same rows, however they are cut."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.compute import ends_of, features_of
from feature_repo.feature_set import (
    IN_FORCE,
    MICROSTRUCTURE,
    SENTIMENT_MEANS,
    SETS,
    WITH_REFERENCE,
    FeatureSet,
)
from feature_repo.features.cross_asset import WINDOW
from feature_repo.scores import REACH_US, with_scores
from feature_repo.versions import computed
from lake.contracts.contract import load
from lake.features.common_bars import with_reference
from lake.features.pairs import asset_of, reference_of
from lake.features.quote_minutes import minutes_of_quotes
from tests.features.bars import START_US, walk
from tests.features.test_compute import bits
from tests.features.ticks import TIME, pair, quotes, scores, table

QUOTES = quotes(3_000)
SCORES = scores(300)
BARS = walk(3_000)
PAIR = pair(900)
ROWS = {
    MICROSTRUCTURE.name: minutes_of_quotes(QUOTES),
    SENTIMENT_MEANS.name: with_scores(BARS, SCORES),
    WITH_REFERENCE.name: with_reference(PAIR),
}
NEW = (MICROSTRUCTURE, SENTIMENT_MEANS, WITH_REFERENCE)
WHOLE = {each.name: features_of(ROWS[each.name], each) for each in NEW}
EVERY = [(each, feature) for each in NEW for feature in each.features]
NAMED = [f"{each.name}.{feature.name}" for each, feature in EVERY]


def same(one: pa.Table, other: pa.Table, of: FeatureSet) -> None:
    assert one["event_time"].equals(other["event_time"])
    for name in of.names:
        assert bits(one, name) == bits(other, name), name


def ending(ends: list[datetime]) -> pa.Table:
    """Return minute bars that end then."""
    at = BARS.column_names.index("event_time")
    starts = pa.array([each - timedelta(minutes=1) for each in ends]).cast(TIME)
    return walk(len(ends)).set_column(at, BARS.schema.field(at), starts)


def test_every_set_has_its_table_and_one_version_in_force() -> None:
    for each in SETS:
        assert list(load(each.dataset).names[9:]) == each.names
        assert load(each.dataset).names[:9] == load("features_market").names[:9]
        assert IN_FORCE[each.name] == each.version


@pytest.mark.parametrize("of", NEW, ids=lambda each: each.name)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_start_length_and_batch_gives_the_same_bits(
    of: FeatureSet, data: st.DataObject
) -> None:
    rows, whole = ROWS[of.name], WHOLE[of.name]
    start = data.draw(st.integers(0, rows.num_rows - 1))
    length = data.draw(st.integers(1, rows.num_rows))
    batch = data.draw(st.integers(of.lookback, 2_000))
    part = features_of(rows.slice(start, length), of, block_rows=batch)
    for feature in of.features:
        full = feature.lookback - 1 if start else 0
        there = whole.slice(start, length).slice(full)
        assert bits(part.slice(full), feature.name) == bits(there, feature.name), feature.name


@pytest.mark.parametrize(("of", "feature"), EVERY, ids=NAMED)
def test_the_last_lookback_rows_are_what_live_needs_and_one_less_gives_null(of, feature) -> None:
    rows, whole = ROWS[of.name], bits(WHOLE[of.name], feature.name)
    assert whole[: feature.lookback - 1] == [None] * (feature.lookback - 1)
    assert whole[-1] is not None
    for at in (feature.lookback - 1, 300, rows.num_rows - 1):
        live = features_of(rows.slice(at - feature.lookback + 1, feature.lookback), of)
        assert bits(live, feature.name)[-1] == whole[at]
        short = features_of(rows.slice(at - feature.lookback + 2, feature.lookback - 1), of)
        if short.num_rows:
            assert bits(short, feature.name)[-1] is None


@settings(max_examples=15, deadline=None)
@given(first=st.integers(0, 200), minutes=st.integers(1, 100), seed=st.integers(0, 99))
def test_quotes_in_any_order_and_of_any_minutes_give_the_same_bits(
    first: int, minutes: int, seed: int
) -> None:
    whole = WHOLE[MICROSTRUCTURE.name].slice(first, minutes)
    ends = whole["event_time"].cast(pa.int64()).to_numpy()
    at = QUOTES["event_time"].cast(pa.int64()).to_numpy()
    mine = np.flatnonzero((at >= ends[0] - 60_000_000) & (at < ends[-1]))
    np.random.default_rng(seed).shuffle(mine)
    part = features_of(minutes_of_quotes(QUOTES.take(pa.array(mine))), MICROSTRUCTURE)
    same(part, whole, MICROSTRUCTURE)


@settings(max_examples=15, deadline=None)
@given(start=st.integers(0, 2_999), length=st.integers(1, 3_000), seed=st.integers(0, 99))
def test_scores_of_a_day_and_the_first_give_the_same_bits(
    start: int, length: int, seed: int
) -> None:
    bars = BARS.slice(start, length)
    ends = ends_of(bars)
    at = SCORES["event_time"].cast(pa.int64()).to_numpy()
    mine = np.flatnonzero((at > ends[0] - REACH_US) & (at <= ends[-1]))
    mine = np.union1d(mine, [0])
    np.random.default_rng(seed).shuffle(mine)
    part = features_of(with_scores(bars, SCORES.take(pa.array(mine))), SENTIMENT_MEANS)
    whole = WHOLE[SENTIMENT_MEANS.name]
    there = pc.is_in(whole["event_time"], pa.array(ends).cast(TIME))
    same(part, whole.filter(there), SENTIMENT_MEANS)


@settings(max_examples=15, deadline=None)
@given(at=st.integers(WINDOW, 700), seed=st.integers(0, 99))
def test_bars_of_both_in_any_order_give_the_same_bits(at: int, seed: int) -> None:
    common = ROWS[WITH_REFERENCE.name].slice(at - WINDOW, WINDOW + 1)
    last = pc.and_(
        pc.greater_equal(PAIR["event_time"], common["event_time"][0]),
        pc.less_equal(PAIR["event_time"], common["event_time"][WINDOW]),
    )
    mine = PAIR.filter(last)
    order = np.random.default_rng(seed).permutation(mine.num_rows)
    live = features_of(with_reference(mine.take(pa.array(order))), WITH_REFERENCE)
    same(live.slice(WINDOW), WHOLE[WITH_REFERENCE.name].slice(at, 1), WITH_REFERENCE)


def test_spreads_and_imbalances_are_those_counted_by_hand() -> None:
    at = [START_US + each for each in (1_000_000, 59_999_999, 30_000_000, 60_000_000)]
    made = minutes_of_quotes(
        table(
            "crypto_quotes",
            {
                "ticker": "X:BTCUSD",
                "exchange": "sim",
                "market": "spot",
                "event_time": at,
                "received_time": [START_US + 70_000_000, *at[1:]],
                "event_time_source": "venue",
                "bid_price": [100.0, 101.0, 102.0, 7.0],
                "bid_size": [1.0, 3.0, 2.0, 0.0],
                "ask_price": [100.5, 101.25, 102.25, 9.0],
                "ask_size": [3.0, 1.0, 0.0, 0.0],
                "seq": [1, 2, 3, 4],
            },
        )
    )
    found = features_of(made, MICROSTRUCTURE).to_pylist()
    assert found[0] | {"spread": 0.25, "quote_imbalance": 0.5} == found[0]
    assert found[0]["relative_spread"] == 0.25 / 101.125
    assert found[0]["relative_spread_mean"] == 1.0 / (607.0 / 2)
    assert found[0]["quote_imbalance_mean"] == 2.0 / 10.0
    assert found[0]["quote_intensity"] == 3 / 60
    assert found[0]["event_time"].timestamp() == (START_US + 60_000_000) / 1e6
    assert (found[1]["spread"], found[1]["relative_spread"]) == (2.0, 0.25)
    assert found[1]["quote_imbalance"] is found[1]["quote_imbalance_mean"] is None
    known = computed(made, MICROSTRUCTURE)["live_time"].cast(pa.int64()).to_pylist()
    assert known == [START_US + 70_000_000, START_US + 120_000_000]


def test_means_of_scores_are_those_counted_by_hand() -> None:
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    hours = (0, 1, 24, 24.5, 25)
    given = {
        "asset": "BTC",
        "source": "news",
        "event_time": [noon + timedelta(hours=each) for each in hours],
        "received_time": [noon + timedelta(hours=each + 0.1) for each in hours],
        "sentiment_score": [0.5, -1.0, 0.25, 0.75, -0.5],
        "confidence": [1.0] * len(hours),
    }
    ends = (-0.5, 0, 1, 23.5, 24, 25, 26.5, 60)
    bars = ending([noon + timedelta(hours=each) for each in ends])
    with_them = with_scores(bars, table("market_sentiment", given))
    found = features_of(with_them, SENTIMENT_MEANS)
    assert found["sentiment_mean_1h"].to_pylist() == [None, -1.0, None, 0.25, 0.125, None, None]
    means = found["sentiment_mean_24h"].to_pylist()
    assert means[:3] == [None] * 3
    assert means[3:6] == [(-1.0 + 0.25) / 2, (0.25 + 0.75 - 0.5) / 3, (0.25 + 0.75 - 0.5) / 3]
    assert means[6:] == [None]
    assert found["sentiment_change"].to_pylist()[3:5] == [0.25 + 0.375, 0.125 - 0.5 / 3]
    came = with_them["received_time"].to_pylist()
    assert came[4] == noon + timedelta(hours=25.1)


def test_a_bar_of_an_asset_without_scores_has_no_row() -> None:
    bars = pa.concat_tables([walk(5, ticker="X:ETHUSD"), walk(5, ticker="X:BTCCHF")])
    assert with_scores(bars, SCORES).num_rows == 0
    assert features_of(with_scores(bars, SCORES.slice(0, 0)), SENTIMENT_MEANS).num_rows == 0


def test_correlation_and_beta_are_those_of_numpy() -> None:
    common, found = ROWS[WITH_REFERENCE.name], WHOLE[WITH_REFERENCE.name]
    own, reference = (
        np.log(common[name].cast(pa.float64()).to_numpy()) for name in ("close", "reference_close")
    )
    x, y = np.diff(own), np.diff(reference)
    for at in (WINDOW, 200, common.num_rows - 1):
        mine = slice(at - WINDOW, at)
        expected = np.corrcoef(x[mine], y[mine])[0, 1]
        assert found["correlation_60"][at].as_py() == pytest.approx(expected, abs=1e-12)
        slope = np.polyfit(y[mine], x[mine], 1)[0]
        assert found["beta_60"][at].as_py() == pytest.approx(slope, abs=1e-12)


def test_common_bars_are_those_of_one_venue_and_currency_and_the_reference_has_none() -> None:
    elsewhere = walk(900, ticker="X:ETHUSDT", seed=3)
    common = with_reference(pa.concat_tables([PAIR, elsewhere]))
    assert common.equals(ROWS[WITH_REFERENCE.name])
    assert set(common["ticker"].to_pylist()) == {"X:ETHUSD"}
    assert 700 < common.num_rows < 900
    twice = with_reference(pa.concat_tables([walk(80), walk(80, ticker="X:ETHUSD")]))
    moved = features_of(twice, WITH_REFERENCE).to_pylist()[-1]
    assert moved["correlation_60"] == pytest.approx(1, abs=1e-12)
    assert moved["correlation_60"] <= 1
    assert moved["beta_60"] == pytest.approx(1, abs=1e-12)


def test_what_a_ticker_is_a_pair_of() -> None:
    pairs = ("X:BTCUSD", "X:DOTUSDT", "X:ETHBTC", "X:ETHUSD_PERP", "X:BTCCHF", "X:USD")
    assert [asset_of(each) for each in pairs] == ["BTC", "DOT", "ETH", "ETH", None, None]
    assert reference_of("X:ETHUSD_PERP") == "X:BTCUSD_PERP"
    assert reference_of("X:DOTUSDT") == "X:BTCUSDT"
    assert reference_of("X:BTCCHF") is None


def test_a_mean_of_scores_is_exact() -> None:
    tenth = table(
        "market_sentiment",
        {
            "asset": "BTC",
            "source": "news",
            "event_time": [START_US - REACH_US + each for each in range(10)],
            "received_time": [START_US] * 10,
            "sentiment_score": [0.1] * 10,
            "confidence": [1.0] * 10,
        },
    )
    bars = ending([datetime.fromtimestamp(START_US / 1e6, UTC)])
    found = features_of(with_scores(bars, tenth), SENTIMENT_MEANS)
    assert found["sentiment_mean_24h"].to_pylist() == [float(Decimal("0.1"))]
