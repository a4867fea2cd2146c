"""When rows are known: live ones when they came, history as promised, and none before."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.arrival import HISTORY_AFTER_US, known_us, promised_us
from feature_repo.strategies.moving_average_cross import MovingAverageCross
from feature_repo.trading.costs import Costs
from feature_repo.trading.money import units
from feature_repo.trading.outcome import outcome_of
from feature_repo.trading.simulation import Simulation
from feature_repo.trading.streams import bars_in_turn, bars_of, quotes_of, trades_of
from feature_repo.trading.sweep import run_series, series_of
from tests.trading.made import BTC, KIND, MINUTE_US, NOON, NOON_US, bar_rows

FIVE_MINUTES_US = 5 * MINUTE_US
US = pa.timestamp("us", "UTC")
CASH = units("1000000")


def ticks(*times: tuple[float, datetime]) -> pa.Table:
    """Return trades and quotes in one: seconds after noon, and when each was received."""
    count = len(times)
    one = pa.array([Decimal(1)] * count, KIND)
    columns = ("price", "size", "bid_price", "bid_size", "ask_price", "ask_size")
    return pa.table(
        {
            "event_time": pa.array([NOON + timedelta(seconds=at) for at, _ in times], US),
            "received_time": pa.array([came for _, came in times], US),
            **dict.fromkeys(columns, one),
        }
    )


def late(rows: pa.Table, seconds: dict[int, float]) -> pa.Table:
    """Return bars of which some came so many seconds after their end."""
    came = rows["received_time"].to_pylist()
    for row, more in seconds.items():
        came[row] += timedelta(seconds=more)
    at = rows.schema.get_field_index("received_time")
    return rows.set_column(at, "received_time", pa.array(came, US))


def test_what_came_a_day_late_is_history_and_what_came_sooner_is_known_when_it_came() -> None:
    event = np.array([0, 0, 0, 0])
    received = np.array([-5, 7, HISTORY_AFTER_US, HISTORY_AFTER_US + 1])
    assert known_us(event, received, 300).tolist() == [0, 7, HISTORY_AFTER_US, 300]
    assert known_us(event, received, 20, 10).tolist() == [10, 10, HISTORY_AFTER_US, 20]
    assert promised_us(["crypto_quotes", "crypto_trades"]) == FIVE_MINUTES_US


def test_imported_ticks_are_known_as_promised_in_the_order_of_their_times() -> None:
    """They came at once and out of order, months later; a live one between them as it came."""
    imported = NOON + timedelta(days=90)
    rows = ticks(
        (300.5, NOON + timedelta(seconds=300.7)), (3, imported), (1, imported), (0.6, imported)
    )
    found = list(quotes_of(rows, BTC, FIVE_MINUTES_US))
    assert [each.time_us - NOON_US for each in found] == [
        600_000,
        300_500_000,
        1_000_000,
        3_000_000,
    ]
    assert [each.available_us - each.time_us for each in found] == [
        FIVE_MINUTES_US,
        200_000,
        FIVE_MINUTES_US,
        FIVE_MINUTES_US,
    ]
    assert [each.time_us for each in trades_of(rows, BTC, FIVE_MINUTES_US)] == [
        each.time_us for each in found
    ]


def test_a_bar_is_known_when_its_last_trade_came_and_history_when_it_ended() -> None:
    rows = late(bar_rows(1, 4), {1: 20, 3: 86_401})
    known = [each.available_us - each.end_us for each in bars_of(rows, BTC, MINUTE_US, 0)]
    assert known == [0, 20_000_000, 0, 0]
    known = [each.available_us - each.end_us for each in bars_of(rows, BTC, MINUTE_US, 30_000_000)]
    assert known == [30_000_000] * 4


def test_a_bar_that_was_corrected_after_newer_ones_is_not_seen_corrected() -> None:
    """Its first version is not there: it is left out, as it is by who acts on closed bars live."""
    rows = late(bar_rows(1, 6), {1: 3_600, 2: 90, 3: 30})
    bars, known = bars_in_turn(rows, MINUTE_US, 0)
    starts = [each - NOON for each in bars["event_time"].to_pylist()]
    assert starts == [timedelta(minutes=n) for n in (0, 2, 3, 4, 5)]
    ends = [60, 180 + 90, 240 + 30, 300, 360]
    assert [(each - NOON_US) // 1_000_000 for each in known.tolist()] == ends


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.lists(st.sampled_from([0, 0, 0, 20, 60, 120, 600, 90_000]), min_size=1, max_size=120),
    st.integers(0, 2 * MINUTE_US),
)
def test_late_bars_are_the_same_to_a_whole_series_and_event_by_event(
    seed: int, lateness: list[int], latency_us: int
) -> None:
    rows = late(bar_rows(seed, len(lateness)), dict(enumerate(lateness)))
    strategy, costs = MovingAverageCross(2, 5), Costs(taker=500, latency_us=latency_us)
    at_once = run_series(strategy, series_of(rows, BTC, MINUTE_US, 0), cash=CASH, costs=costs)
    assert at_once is not None
    events = list(bars_of(rows, BTC, MINUTE_US, 0))
    known = [each.available_us for each in events]
    assert known == sorted(known)
    assert all(each.available_us >= each.end_us for each in events)
    by_events = outcome_of(Simulation(strategy, cash=CASH, costs=costs).run(events))
    for name, table in by_events.tables().items():
        assert at_once.tables()[name].equals(table), name
