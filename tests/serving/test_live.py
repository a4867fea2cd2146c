"""Bars and features as they come are those of the batch, to the last bit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.feature_set import MARKET
from feature_repo.versions import computed
from lake.bars.kernel import KEY, MINUTE_US, bars_of_trades
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.feeds.codec import Frames, frames_of
from lake.feeds.recording import open_recording
from lake.ingest.codecs import codecs
from serving.live.degraded import Degraded
from serving.live.held_bars import LATE_US
from serving.live.live_bars import CHANGE, CLOSED, CORRECTED, LATE, BarStep, LiveBars
from serving.live.live_features import LiveFeatures
from serving.live.once import FEW_FRAMES_ELSE, Once, merged_runs
from serving.streams.entry import Drop
from tests.bars.trading import EPOCH, NOON, trades
from tests.features.bars import walk

TRADES = arrow_schema(load("crypto_trades"))
US = timedelta(microseconds=1)
NOON_US = (NOON - EPOCH) // US
DAY = timedelta(days=1)


def table(rows: list[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=TRADES)


class Held:
    """The bars and features that a reader has who does what the steps say."""

    def __init__(self) -> None:
        self.bars: dict[tuple[object, ...], dict[str, object]] = {}
        self.features: dict[tuple[object, ...], dict[str, object]] = {}

    def take(self, step: BarStep, features: pa.Table | None = None) -> None:
        for gone in step.gone.to_pylist():
            del self.bars[tuple(gone[name] for name in KEY)]
        for row in step.put.to_pylist():
            change, key = row.pop(CHANGE), tuple(row[name] for name in KEY)
            assert (key in self.bars) == (change == CORRECTED)
            self.bars[key] = row
        for row in features.to_pylist() if features is not None else ():
            change, key = row.pop(CHANGE), tuple(row[name] for name in KEY)
            assert change == CORRECTED or key not in self.features
            self.features[key] = row

    def of(self, interval: str) -> list[dict[str, object]]:
        found = [row for row in self.bars.values() if row["interval"] == interval]
        return sorted(found, key=lambda row: [str(row[name]) for name in KEY])


@given(
    st.integers(0, 10**6),
    st.lists(st.integers(1, 199), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(1, 55), min_size=1, max_size=6),
)
@settings(max_examples=3, deadline=None)
def test_bars_of_any_pieces_are_those_of_all_at_once(
    seed: int, cuts: list[int], minutes: list[int]
) -> None:
    rows = trades(seed, 1, span_s=3_600)
    held = Held()
    with LiveBars(NOON_US) as live:
        bounds = [0, *sorted(cuts), len(rows)]
        for i, (start, stop) in enumerate(pairwise(bounds)):
            closed_us = NOON_US + minutes[i % len(minutes)] * MINUTE_US
            amid = (start + stop) // 2
            live.take(table(rows[start:amid]))
            live.prepare(closed_us, lambda _: None)
            live.take(table(rows[amid:stop]))
            held.take(live.step(closed_us))
        held.take(live.step(NOON_US + 86_400_000_000))
        assert live.beyond == 0
    for interval in ("1s", "1m", "5m", "1h", "1d"):
        batch = bars_of_trades(table(rows), interval).to_pylist()
        expected = [row for row in batch if row["event_time"] + _width(interval) <= NOON + DAY]
        assert held.of(interval) == expected, interval


def _width(interval: str) -> timedelta:
    seconds = {"1s": 1, "1m": 60, "5m": 300, "1h": 3_600, "1d": 86_400}
    return timedelta(seconds=seconds[interval])


def test_a_late_tick_corrects_the_bar_and_says_so() -> None:
    first, second, late, lonely = trades(7, 1, count=4)
    for row, at in ((first, 0), (second, 61), (late, 30), (lonely, 150)):
        row.update(ticker="X:BTCUSD", exchange="sim:1", conditions=None)
        row["event_time"] = NOON + timedelta(seconds=at)
    with LiveBars(NOON_US) as live:
        live.take(table([first, second]))
        assert live.forming().num_rows == 2
        step = live.step(NOON_US + 2 * MINUTE_US)
        minutes = step.put.filter(pc.equal(step.put["interval"], "1m"))
        assert minutes[CHANGE].to_pylist() == [CLOSED, CLOSED]
        live.step(NOON_US + 3 * MINUTE_US)
        live.take(table([late, lonely]))
        step = live.step(NOON_US + 3 * MINUTE_US)
        minutes = step.put.filter(pc.equal(step.put["interval"], "1m"))
        assert minutes[CHANGE].to_pylist() == [CORRECTED, LATE]
        assert minutes["trades"].to_pylist() == [2, 1]
        assert step.gone.num_rows == 0


def test_what_is_made_ready_is_given_unless_a_trade_belongs_in_it() -> None:
    first, second, late, later = trades(7, 1, count=4)
    for row, at in ((first, 0), (second, 61), (late, 70), (later, 150)):
        row.update(ticker="X:BTCUSD", exchange="sim:1", conditions=None)
        row["event_time"] = NOON + timedelta(seconds=at)
    made: list[BarStep] = []
    with LiveBars(NOON_US) as live:
        live.take(table([first, second]))
        live.prepare(NOON_US + MINUTE_US, made.append)
        live.take(table([later]))
        assert live.step(NOON_US + MINUTE_US) is made[0]
        live.prepare(NOON_US + 2 * MINUTE_US, made.append)
        live.take(table([late]))
        step = live.step(NOON_US + 2 * MINUTE_US)
        minutes = step.put.filter(pc.equal(step.put["interval"], "1m"))
        assert minutes["trades"].to_pylist() == [2]
        assert step is not made[1]


def test_what_is_too_late_is_counted_and_changes_nothing() -> None:
    (row,) = trades(1, 1, count=1, span_s=7)
    row["conditions"] = None
    with LiveBars(NOON_US + LATE_US + MINUTE_US) as live:
        live.take(table([row]))
        step = live.step(NOON_US + LATE_US + MINUTE_US)
    assert (step.beyond, live.beyond, step.put.num_rows) == (1, 1, 0)


def test_bars_held_from_before_a_restart_are_gone_on_with() -> None:
    rows = trades(3, 1, span_s=3_000)
    whole, again = Held(), Held()
    with LiveBars(NOON_US) as live:
        live.take(table(rows[:100]))
        step = live.step(NOON_US + 20 * MINUTE_US)
        whole.take(step)
        again.take(step)
        live.take(table(rows[100:]))
        whole.take(live.step(NOON_US + 120 * MINUTE_US))
    waiting = [row for row in rows[:100] if row["event_time"] >= NOON + timedelta(minutes=20)]
    with LiveBars(step.closed_us, step.put.drop_columns([CHANGE])) as live:
        live.take(table([*waiting, *rows[100:]]))
        again.take(live.step(NOON_US + 120 * MINUTE_US))
    assert again.bars == whole.bars


def as_steps(bars: pa.Table, chance: random.Random) -> Iterator[BarStep]:
    """Yield the bars of a table as steps, a few at a time, some first wrong and then corrected."""
    at = 0
    keys = bars.select(list(KEY)).slice(0, 0)
    while at < bars.num_rows:
        count = chance.randint(1, 40)
        piece = bars.slice(at, count)
        at += count
        wrong = chance.random() < 0.3 and piece.num_rows > 1
        if wrong:
            price = pa.array([Decimal(1)] * piece.num_rows, piece["close"].type)
            other = piece.set_column(piece.column_names.index("close"), "close", price)
            yield BarStep(0, _marked(other, CLOSED), keys, 0)
        yield BarStep(0, _marked(piece, CORRECTED if wrong else CLOSED), keys, 0)


def _marked(bars: pa.Table, change: str) -> pa.Table:
    return bars.append_column(CHANGE, pa.array([change] * bars.num_rows))


def test_features_of_any_steps_are_those_of_all_bars_at_once() -> None:
    bars = pa.concat_tables(
        [walk(900, gaps=0.05), walk(120, ticker="X:ETHUSD", interval="5m", seed=2)]
    )
    live, held = LiveFeatures(MARKET), Held()
    for step in as_steps(bars, random.Random(5)):
        features = live.take(step)
        held.take(BarStep(0, step.put.slice(0, 0), step.gone, 0), features)
    expected = computed(bars, MARKET).to_pylist()
    assert len(held.features) == len(expected)
    for row in expected:
        assert held.features[tuple(row[name] for name in KEY)] == row


def test_a_recorded_day_gives_the_bars_and_features_of_the_batch(data_dir: Path) -> None:
    recording = open_recording(data_dir / "binance_frames" / "spot_btcusdt_20240808.gz")
    received = [each for batch in recording.batches() for each in batch]
    raw = [frame for _, frame in received]
    times = [time_us for time_us, _ in received]
    whole = frames_of(raw, received_us=times)
    batch = codecs()[recording.feed].decode(whole).tables["crypto_trades"]
    minutes = bars_of_trades(batch, "1m")
    closed_us = max(times) // MINUTE_US * MINUTE_US
    once, features, held = Once(), LiveFeatures(MARKET), Held()
    chance, at = random.Random(1), 0
    start_us = min(times) - 86_400_000_000
    with LiveBars(start_us) as live:
        while at < len(raw):
            count = chance.randint(1, 4 * FEW_FRAMES_ELSE)
            run = whole.slice(at, min(at + count, len(raw)))
            at += count
            rows = once.take([(recording.feed, run)])
            assert rows.duplicates == rows.quarantined == 0
            if "crypto_trades" in rows.tables:
                live.take(rows.tables["crypto_trades"])
            if chance.random() < 0.05 or at >= len(raw):
                at_us = int(run.received_us[-1]) - 1_000_000
                live.prepare(at_us // MINUTE_US * MINUTE_US, features.prepare)
                step = live.step(at_us)
                held.take(step, features.take(step))
        step = live.step(closed_us)
        held.take(step, features.take(step))
    ends = pc.add(minutes["event_time"].cast(pa.int64()), MINUTE_US)
    whole_minutes = minutes.filter(pc.less_equal(ends, closed_us))
    assert whole_minutes.num_rows > 3
    assert held.of("1m") == whole_minutes.to_pylist()
    expected = computed(whole_minutes, MARKET).to_pylist()
    found = [row for row in held.features.values() if row["interval"] == "1m"]
    assert sorted(found, key=_by_time) == expected


def _by_time(row: dict[str, object]) -> datetime:
    assert isinstance(row["event_time"], datetime)
    return row["event_time"]


def test_what_is_delivered_twice_is_taken_once_and_runs_are_joined(data_dir: Path) -> None:
    recording = open_recording(data_dir / "binance_frames" / "spot_btcusdt_20240808.gz")
    received = next(iter(recording.batches()))[:400]
    raw, times = [frame for _, frame in received], [time_us for time_us, _ in received]
    first = frames_of(raw, received_us=times, connection=0)
    again = frames_of(raw, received_us=times, connection=1, first_frame=len(raw) + 1)
    once = Once()
    taken = once.take([(recording.feed, first)]).tables["crypto_trades"].num_rows
    repeated = once.take([(recording.feed, again)])
    assert taken > 0
    assert "crypto_trades" not in repeated.tables
    assert repeated.duplicates >= taken
    runs = [(recording.feed, first.slice(i, i + 1)) for i in range(len(first))]
    ((feed, joined),) = merged_runs(runs)
    assert (feed, joined.payload, list(joined)) == (recording.feed, first.payload, raw)
    assert joined.offsets.tolist() == first.offsets.tolist()
    assert isinstance(joined, Frames)


def test_bars_that_a_drop_of_trades_may_have_touched_are_degraded_and_no_others() -> None:
    bars = walk(800, gaps=0)
    degraded = Degraded()
    degraded.heard("sim", ["sim"])
    degraded.heard("kraken", ["kraken"])
    first_us = bars["event_time"].cast(pa.int64())[700].as_py()
    at = (first_us + 10_000_000, first_us + 20_000_000)
    degraded.note(Drop("sim", "quotes", 5, 1, 5, *at))
    degraded.note(Drop("kraken", "trades", 5, 1, 5, *at))
    assert not degraded.of_bars(bars).any()
    degraded.note(Drop("sim", "trades", 5, 1, 5, *at))
    assert degraded.of_bars(bars).nonzero()[0].tolist() == [700]
    assert degraded.drops == {"quotes": 5, "trades": 10}
    names = degraded.of_features(bars, MARKET, 100)
    for feature in MARKET.features:
        expected = [700 <= row < 700 + feature.lookback for row in range(700, 800)]
        assert names[feature.name].tolist() == expected, feature.name
    degraded.lost(*at)
    assert degraded.of_bars(walk(800, gaps=0, ticker="X:ETHUSD")).sum() == 1
