"""Issue 7, part 3: a bandit's outcomes are labels of past predictions, by version."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from redis import Redis

from feature_repo.labels.versions import HORIZONS
from flows.bars_to_labels import label_bars
from flows.features_to_predictions import score
from serving.signals.models import Models
from serving.signals.outcomes import Counter, kept, label_of
from serving.signals.route import BANDIT, Outcomes, Route
from serving.streams import keys
from serving.streams.connect import connected
from tests.conftest import Databases
from tests.models.watched_house import WatchedHouse, watched_house
from tests.signals.in_use import SOURCE, in_use, version


@pytest.fixture(scope="module")
def house(
    databases: Databases, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WatchedHouse]:
    with watched_house(databases, migrated_template, tmp_path_factory.mktemp("home")) as house:
        yield house


@pytest.fixture
def client(valkey_url: str) -> Iterator[Redis]:
    client = connected(valkey_url, wait_s=60.0)
    yield client
    client.delete(keys.OUTCOMES)
    client.close()


def test_outcomes_are_signs_that_came_true(house: WatchedHouse, client: Redis) -> None:
    house.train("champion")
    house.train("challenger", seed=2)
    house.more(300)
    score(house.dsn, house.place, house.registry, house.clock)
    label_bars(house.dsn, house.place, house.clock)
    models = Models(house.home)
    counter = Counter(house.home, models, client, house.clock)
    counter.count()
    assert counter.found == {}  # no bandit asks
    use = in_use(Route(BANDIT), champion=version(1), challenger=version(2))
    models.in_use = {"direction": use}
    house.clock.step(
        int(house.rows("SELECT epoch_us(max(event_time)) AS t FROM bars")["t"][0].as_py())
        - house.clock.now_us()
    )
    counter.count()
    rows = house.rows(
        "SELECT model_version AS v, prediction AS p, label_side::INT AS side FROM model_predictions"
        ' JOIN labels_market USING (ticker, exchange, market, "interval", event_time)'
        f" WHERE label = 'forward' AND horizon_bars = {HORIZONS['1m']}"
    ).to_pandas()
    expected = {}
    for number in (1, 2):
        mine = rows[(rows.v == number) & (rows.side != 0)]
        right = int((np.sign(mine.p) == mine.side).sum())
        expected[number] = Outcomes(right, len(mine) - right)
        assert right > 0
    assert counter.found == {"direction": expected}
    assert kept(client, "direction") == expected
    assert kept(client, "other") == {}
    client.set(keys.OUTCOMES, b"nonsense")
    assert kept(client, "direction") == {}


@pytest.mark.parametrize(
    ("other", "found"),
    [({}, "forward"), ({"label": "barrier"}, ""), ({"horizon": 5}, ""), ({"dead_band": 0.1}, "")],
    ids=["same", "label", "horizon", "band"],
)
def test_only_labels_that_the_table_has_are_counted(other: dict[str, object], found: str) -> None:
    use = in_use(champion=version(1), challenger=version(2, source={**SOURCE, **other}))
    assert label_of(use) == found
