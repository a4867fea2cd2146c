"""What is served of quotes, scores and pairs: the lake's newest rows, and the audit holds them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from feature_repo.feast_answers import FeastAnswers
from feature_repo.store import wire
from feature_repo.store.served import Served, connect
from feature_repo.store.views import SERIES, VIEWS, View
from flows.every_feature_set import every_set
from flows.features_to_online import FeaturesToOnline, Step
from flows.online_to_quality import FEAST, OnlineToQuality, Run
from tests.features.feast_home import FeastHome
from tests.features.test_sets_in_the_lake import CLOCK, QUOTES, SCORES, SetHouse
from tests.features.ticks import pair

OLD = {each.name: replace(each, ttl=timedelta(days=100)) for each in VIEWS}
"""The views, for rows of months ago."""

BESIDE = ("microstructure_v1", "sentiment_v1", "cross_asset_v1")


class ServedSets(SetHouse, FeastHome):
    """A lakehouse with every set, and its online store."""

    def serve_all(self) -> Step:
        place = {"clock": CLOCK, "views": tuple(OLD.values())}
        with FeaturesToOnline(self.dsn, self.place, self.url, **place) as writer:
            return writer.step()

    def audit_all(self, feast: FeastAnswers | None = None) -> Run:
        place = {"clock": CLOCK, "views": tuple(OLD.values())}
        others = {FEAST: feast} if feast else None
        with OnlineToQuality(self.dsn, self.place, self.url, others=others, **place) as audit:
            return audit.step()

    def newest_of(self, view: View) -> pa.Table:
        """Return each series' newest row in the lake."""
        keys, names = (", ".join(f'"{n}"' for n in each) for each in (SERIES, view.columns))
        return self.rows(
            f"SELECT {keys}, event_time, {names} FROM {view.of.dataset}"
            f" QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY event_time DESC,"
            f" available_time DESC, recorded_time DESC) = 1 ORDER BY {keys}"
        )


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path, valkey_url: str) -> Iterator[ServedSets]:
    house = ServedSets(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    house.settle(tmp_path, valkey_url, 9)
    house.publish(pair(200))
    house.put_ticks("crypto_quotes", QUOTES)
    house.put_ticks("market_sentiment", SCORES)
    every_set(house.dsn, house.place, clock=CLOCK)
    yield house
    house.close()


def series_of(rows: pa.Table) -> list[tuple[str, str, str, str]]:
    return list(zip(*(rows[each].to_pylist() for each in SERIES), strict=True))


def test_the_newest_of_each_set_is_served_bit_for_bit(house: ServedSets) -> None:
    assert house.serve_all().newer == 0
    for name in BESIDE:
        check_served(house, OLD[name])


def check_served(house: ServedSets, view: View) -> None:
    rows = house.newest_of(view)
    assert rows.num_rows > 0
    with Served(house.url) as served:
        found = served.read(series_of(rows), view)
    assert found.event_us.tolist() == rows["event_time"].cast(pa.int64()).to_pylist()
    assert found.there.any()
    for number, column in enumerate(view.columns):
        lake = rows[column]
        assert found.there[:, number].tolist() == lake.is_valid().to_pylist()
        bits = lake.fill_null(0.0).to_numpy().view(np.int64)
        np.testing.assert_array_equal(found.bits[:, number], bits)


def test_the_audit_asks_for_rows_of_every_set_and_names_the_one_with_another_bit(
    house: ServedSets,
) -> None:
    house.serve_all()
    rows = sum(house.newest_of(view).num_rows for view in OLD.values())
    with FeastAnswers(house.url) as feast:
        run = house.audit_all(feast)
    assert (run.result.checked, run.result.failed) == (2 * rows, 0)
    redis = connect(house.url)
    for name in BESIDE:
        view = OLD[name]
        ticker, exchange, market, interval = series_of(house.newest_of(view))[0]
        key = wire.hash_key("ticklake", (exchange, interval, market, ticker))
        field = wire.field(name, view.columns[0])
        redis.hset(key, field, wire.doubles(np.array([1234.5]), np.array([False]))[0])
        [fault] = house.audit_all().result.rows
        assert (fault["view"], fault["ticker"]) == (name, ticker)
        assert fault["fault"] == f"other bits in {view.columns[0]}"
        house.serve_all()
        assert house.audit_all().result.holds
