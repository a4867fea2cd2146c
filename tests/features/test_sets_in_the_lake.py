"""Sets of quotes, scores and pairs in a real lakehouse: what a late tick changes, and rollback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from feature_repo.compute import features_of
from feature_repo.feature_set import (
    MICROSTRUCTURE,
    SENTIMENT_MEANS,
    WITH_REFERENCE,
    FeatureSet,
)
from feature_repo.features.cross_asset import WINDOW
from feature_repo.scores import with_scores
from flows.bars_to_features import BarsToFeatures
from flows.every_feature_set import every_set
from flows.quotes_to_features import QuotesToFeatures
from lake.clock import ManualClock
from lake.errors import TicklakeError
from lake.features.common_bars import with_reference
from lake.features.quote_minutes import minutes_of_quotes
from lake.steps import Steps
from tests.features.bars import walk
from tests.features.house import NOW, House
from tests.features.ticks import pair, quotes, scores

EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
US = timedelta(microseconds=1)
CLOCK = ManualClock((NOW - EPOCH) // US)
QUOTES = quotes(400)
SCORES = scores(60)
MORE_BARS = walk(420)
BARS = MORE_BARS.slice(0, 400)
PAIR = pair(200)


class SetHouse(House):
    """A lakehouse with ticks and bars, and who makes every set of them."""

    def put_ticks(self, dataset: str, rows: pa.Table) -> None:
        """Write ticks as one frame each, as the hot writer does."""
        frames = [
            {**row, "shard": 0, "seq": (self.frames[0] + 1 + n) << 16}
            for n, row in enumerate(rows.to_pylist())
        ]
        self.write(len(frames), tables={dataset: frames})

    def made(self, of: FeatureSet, steps: Steps | None = None) -> int:
        """Make a set; return the rows added."""
        place = {"clock": CLOCK, "steps": steps, "made": of}
        if of.name == MICROSTRUCTURE.name:
            with QuotesToFeatures(self.dsn, self.place, rows_max=150, **place) as maker:
                return maker.drain().put
        with BarsToFeatures(self.dsn, self.place, **place) as maker:
            return maker.step().put

    def newest(self, of: FeatureSet, where: str = "true") -> pa.Table:
        """Return the newest version of each row that meets a condition, as features_of does."""
        names = ", ".join(f'"{name}"' for name in of.names)
        key = 'ticker, exchange, market, "interval", event_time'
        found = self.rows(
            f"SELECT {key}, {names} FROM {of.dataset} WHERE set_version = {of.version} AND {where}"
            f" QUALIFY row_number() OVER (PARTITION BY {key}"
            " ORDER BY available_time DESC, recorded_time DESC) = 1 ORDER BY ticker, event_time"
        )
        return found.cast(features_of(BARS_OF[of.name](), of).schema)


BARS_OF = {
    MICROSTRUCTURE.name: lambda: minutes_of_quotes(QUOTES.slice(0, 0)),
    SENTIMENT_MEANS.name: lambda: with_scores(BARS.slice(0, 0), SCORES.slice(0, 0)),
    WITH_REFERENCE.name: lambda: with_reference(PAIR.slice(0, 0)),
}


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[SetHouse]:
    house = SetHouse(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    yield house
    house.close()


def test_late_quotes_make_their_minutes_anew_and_no_other(house: SetHouse) -> None:
    late = 200
    early = pa.concat_tables([QUOTES.slice(0, late), QUOTES.slice(late + 1)])
    house.put_ticks("crypto_quotes", early)
    before = features_of(minutes_of_quotes(early), MICROSTRUCTURE)
    assert house.made(MICROSTRUCTURE) == before.num_rows
    assert house.newest(MICROSTRUCTURE).equals(before)
    assert house.made(MICROSTRUCTURE) == 0
    came = QUOTES["event_time"][late].as_py() + timedelta(hours=2)
    at = QUOTES.column_names.index("received_time")
    field = QUOTES.schema.field(at)
    last = QUOTES.slice(late, 1).set_column(at, field, pa.array([came], field.type))
    house.put_ticks("crypto_quotes", last)
    assert house.made(MICROSTRUCTURE) == 1
    assert house.newest(MICROSTRUCTURE).equals(
        features_of(minutes_of_quotes(QUOTES), MICROSTRUCTURE)
    )
    known_then = house.newest(MICROSTRUCTURE, f"available_time < '{came.isoformat()}'")
    assert known_then.equals(before)


def test_whoever_stops_the_quotes_flow_loses_and_doubles_nothing(house: SetHouse) -> None:
    house.put_ticks("crypto_quotes", QUOTES)
    with pytest.raises((TicklakeError, OSError)):
        house.made(MICROSTRUCTURE, Steps({"lake.pointer": ("lost-answer", 2)}))
    house.made(MICROSTRUCTURE)
    whole = features_of(minutes_of_quotes(QUOTES), MICROSTRUCTURE)
    assert house.newest(MICROSTRUCTURE).equals(whole)
    assert house.rows("FROM features_microstructure").num_rows == whole.num_rows


def test_a_late_score_changes_the_bars_of_its_day_and_an_earlier_first_those_after_it(
    house: SetHouse,
) -> None:
    house.publish(BARS)
    assert house.made(SENTIMENT_MEANS) == 0
    some = SCORES.slice(3)
    house.put_ticks("market_sentiment", pa.concat_tables([some.slice(0, 9), some.slice(10)]))
    house.made(SENTIMENT_MEANS)
    before = house.newest(SENTIMENT_MEANS)
    without = pa.concat_tables([some.slice(0, 9), some.slice(10)])
    assert before.equals(features_of(with_scores(BARS, without), SENTIMENT_MEANS))
    assert house.made(SENTIMENT_MEANS) == 0

    house.put_ticks("market_sentiment", some.slice(9, 1))
    added = house.made(SENTIMENT_MEANS)
    concerned = pc.sum(pc.greater_equal(before["event_time"], some["event_time"][9])).as_py()
    assert 0 < added <= concerned
    now = house.newest(SENTIMENT_MEANS)
    assert now.equals(features_of(with_scores(BARS, some), SENTIMENT_MEANS))

    house.put_ticks("market_sentiment", SCORES.slice(0, 3))
    house.made(SENTIMENT_MEANS)
    now = house.newest(SENTIMENT_MEANS)
    assert now.equals(features_of(with_scores(BARS, SCORES), SENTIMENT_MEANS))
    house.publish(MORE_BARS.slice(400))
    assert house.made(SENTIMENT_MEANS) == 20


def test_a_late_bar_of_the_reference_changes_those_beside_it(house: SetHouse) -> None:
    house.publish(PAIR)
    whole = features_of(with_reference(PAIR), WITH_REFERENCE)
    assert house.made(WITH_REFERENCE) == whole.num_rows
    assert house.newest(WITH_REFERENCE).equals(whole)
    assert house.made(WITH_REFERENCE) == 0
    late = 100
    row = PAIR.slice(late, 1).to_pylist()[0]
    came = row["event_time"] + timedelta(hours=3)
    new = pa.Table.from_pylist(
        [{**row, "close": row["high"], "received_time": came}], schema=PAIR.schema
    )
    house.publish(new, PAIR.slice(late, 1))
    now = pa.concat_tables([PAIR.slice(0, late), new, PAIR.slice(late + 1)])
    assert 0 < house.made(WITH_REFERENCE) <= WINDOW + 1
    assert house.newest(WITH_REFERENCE).equals(features_of(with_reference(now), WITH_REFERENCE))
    known_then = house.newest(WITH_REFERENCE, f"available_time < '{came.isoformat()}'")
    assert known_then.equals(whole)
    house.publish(PAIR.slice(0, 0), new)
    house.made(WITH_REFERENCE)
    gone = house.newest(WITH_REFERENCE, f"event_time = '{_end(row)}'")
    assert [gone[name][0].as_py() for name in WITH_REFERENCE.names] == [None] * 4


def test_a_new_version_is_made_beside_the_old_one_which_can_be_gone_back_to(
    house: SetHouse,
) -> None:
    house.publish(PAIR)
    old = WITH_REFERENCE
    first = house.made(old)
    held = house.newest(old)
    twice = replace(old.features[0], version=2, function=lambda close: 2 * close)
    new = replace(old, version=2, features=(twice, *old.features[1:]))
    assert house.made(new) == first
    assert house.newest(old).equals(held)
    assert house.newest(new).equals(features_of(with_reference(PAIR), new))
    assert house.made(old) == 0
    house.publish(walk(5, ticker="X:SOLUSD", gaps=0))
    assert house.made(old) == 5 - _lacking(5)
    assert house.newest(old).slice(0, held.num_rows).equals(held)


def test_all_sets_are_made_by_one_call(house: SetHouse) -> None:
    house.publish(pair(50))
    house.put_ticks("crypto_quotes", QUOTES.slice(0, 40))
    made = every_set(house.dsn, house.place, clock=CLOCK)
    assert [each.name for each in made] == ["market", "microstructure", "sentiment", "cross_asset"]
    assert made[0].step.put == 100
    assert made[1].step.put > 3
    assert made[2].line() == "sentiment: nothing has changed"
    assert made[3].step.put > 10
    again = every_set(house.dsn, house.place, names=("market", "microstructure"), clock=CLOCK)
    assert [each.step.put for each in again] == [0, 0]


def _end(bar: dict[str, datetime]) -> str:
    return (bar["event_time"] + timedelta(minutes=1)).isoformat()


def _lacking(rows: int) -> int:
    """Return how many of the first buckets the reference has no bar in."""
    there = set(walk(200)["event_time"].to_pylist())
    mine = walk(rows, gaps=0)["event_time"].to_pylist()
    return sum(each not in there for each in mine)
