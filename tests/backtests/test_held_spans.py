"""Issue 6: a release that lacks a part of the span is refused; a ticker that does is warned of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from flows.backtest_plan import Plan
from flows.held_spans import SILENT_US, require_held
from flows.release_rows import rows_of
from flows.release_to_backtest import Backtest, backtest
from flows.release_to_training_rows import Ask, lacking, rows_of_release
from infra.command.backtest import held
from lake.errors import Unavailable
from lake.views.client import Client
from tests.backtests.research import HOURS_US, plan
from tests.bars.trading import EPOCH
from tests.features.bars import START_US, walk
from tests.models.released_house import ReleasedHouse, released

LONG, SHORT = 1_100, 500
MINUTE_US = 60_000_000
FIRST_US = START_US + MINUTE_US
LAST_US = FIRST_US + LONG * MINUTE_US
START = EPOCH + timedelta(microseconds=FIRST_US)
DAY_US = 24 * HOURS_US
PART = r"release first: has bars of 1m of .* only, of "


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[ReleasedHouse]:
    """Bars of two tickers, one of which is gone after 500 minutes."""
    bars = pa.concat_tables([walk(SHORT, gaps=0), walk(LONG, ticker="X:ETHUSD", seed=2, gaps=0)])
    with released(migrated_dsn, tmp_path / "warehouse", bars) as house:
        yield house


def asked(ticker: str, first_us: int, last_us: int) -> Plan:
    return plan(tickers=(ticker,), first_us=first_us, last_us=last_us)


def run(house: ReleasedHouse, of: Plan, *, whole: bool = True) -> Backtest:
    with Client(house.dsn, house.place, release="first") as client:
        return backtest(rows_of(client, {}), of, whole=whole)


def train_on(house: ReleasedHouse, ask: Ask) -> int:
    with Client(house.dsn, house.place, release="first") as client:
        return rows_of_release(client, ask, whole=True).num_rows


def test_a_ticker_that_rests_or_goes_is_warned_of_and_run(house: ReleasedHouse) -> None:
    """The venue was heard: its other ticker's bars are there."""
    found = run(house, asked("X:BTCUSD", FIRST_US, LAST_US))
    (warning,) = held(found)
    assert warning.lstrip().startswith("warning    the release has bars X:BTCUSD of ")
    assert "only, of " in warning
    assert held(run(house, asked("X:ETHUSD", FIRST_US, LAST_US))) == []


def test_less_than_a_day_at_either_end_may_be_silence(house: ReleasedHouse) -> None:
    found = run(house, asked("X:ETHUSD", FIRST_US - 20 * HOURS_US, LAST_US + 20 * HOURS_US))
    assert len(held(found)) == 1


@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0), (2, 2)])
def test_a_release_that_begins_or_ends_a_day_from_what_was_asked_is_refused(
    house: ReleasedHouse, before: int, after: int
) -> None:
    """In a sentence with both spans and what to do; a part is run where a part is asked for."""
    of = asked("X:ETHUSD", FIRST_US - before * DAY_US, LAST_US + after * DAY_US)
    with pytest.raises(Unavailable, match=PART) as raised:
        run(house, of)
    assert "--partly" in str(raised.value)
    assert len(held(run(house, of, whole=False))) == 1


def test_a_training_is_refused_alike_and_asks_for_nothing_where_no_span_is_named(
    house: ReleasedHouse,
) -> None:
    bounds = [
        (START - timedelta(days=2)).isoformat(),
        (START + timedelta(minutes=LONG, days=2)).isoformat(),
    ]
    assert train_on(house, Ask(horizon=5)) > 0
    assert train_on(house, Ask(horizon=5, since=START.isoformat())) > 0
    for since, until in ((bounds[0], ""), ("", bounds[1]), (bounds[0], bounds[1])):
        with pytest.raises(Unavailable, match=PART):
            train_on(house, Ask(horizon=5, since=since, until=until))


def test_rows_that_only_lack_what_features_and_labels_take_are_no_part() -> None:
    ask = Ask(
        horizon=5,
        since=START.isoformat(),
        until=(START + timedelta(minutes=LONG)).isoformat(),
    )
    rows = (FIRST_US + 767 * MINUTE_US, LAST_US - 5 * MINUTE_US)
    assert lacking(rows, ask) is None
    assert lacking((rows[0] + DAY_US, rows[1] + DAY_US), ask) == (FIRST_US, LAST_US)
    assert lacking((rows[0], rows[1] - DAY_US), ask) is not None
    assert lacking((rows[0] + DAY_US, rows[1]), Ask(horizon=5)) is None


def test_nothing_at_all_is_refused_too() -> None:
    with pytest.raises(Unavailable, match="release r: has no quotes, of 1970-01-01"):
        require_held("r", "quotes", None, (0, SILENT_US))
    require_held("r", "quotes", (SILENT_US, SILENT_US), (0, SILENT_US))
