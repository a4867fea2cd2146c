"""Issue 7, part 8: bars and features that the speed layer keeps no more come from the lake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
import pytest

from lake.state import write_state
from serving.service.lake_facts import LakeHistory
from serving.streams import keys
from tests.conftest import Databases
from tests.features.house import MINUTES, House
from tests.service.serving import Served, served

AT = {"exchange": "sim", "market": "spot"}
TIMES = pa.compute.cast(MINUTES["event_time"], pa.int64()).to_pylist()


@dataclass
class Aged:
    """A service whose lake has minutes of long ago."""

    service: Served

    def get(self, path: str, **more: Any) -> Any:
        with self.service.http() as http:
            answer = http.get(path, params={**AT, **more})
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def aged(
    databases: Databases,
    migrated_template: str,
    valkey_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Aged]:
    name = databases.create(migrated_template)
    home = tmp_path_factory.mktemp("aged")
    house = House(databases.dsn(name), home / "warehouse")
    house.start_shard(0)
    house.publish(MINUTES)
    house.make()
    write_state(home, {"postgres": {"dsn": house.dsn}})
    history = LakeHistory(home)
    with served(valkey_url, tmp_path_factory.mktemp("service")) as service:
        service.parts.given.history = history
        yield Aged(service)
    history.close()
    house.close()
    databases.drop(name)


def test_bars_of_the_lake_stand_before_those_of_the_speed_layer(aged: Aged) -> None:
    newest = {"ticker": "X:BTCUSD", **AT, "interval": "1m", "t": TIMES[-1] + 60_000_000}
    told = orjson.dumps({**newest, "open": "7", "high": "8", "low": "6", "close": "7"})
    aged.service.client.zadd(keys.bars("sim", "spot", "X:BTCUSD", "1m"), {told: newest["t"]})
    bars = aged.get("/v1/bars/X:BTCUSD", limit=4)["bars"]
    assert [bar["t"] for bar in bars] == [*TIMES[-3:], newest["t"]]
    row = MINUTES.slice(len(MINUTES) - 1).to_pylist()[0]
    for column in ("open", "high", "low", "close", "volume"):
        assert float(bars[2][column]) == float(row[column])
    before = aged.get("/v1/bars/X:BTCUSD", limit=2, before_us=TIMES[10])["bars"]
    assert [bar["t"] for bar in before] == TIMES[8:10]
    assert aged.get("/v1/bars/X:BTCUSD", interval="1h")["bars"] == []
    assert aged.get("/v1/bars/X:NONE", limit=2)["bars"] == []


def test_features_of_the_lake_are_told_with_their_values(aged: Aged) -> None:
    rows = aged.get("/v1/features/X:BTCUSD", limit=3, before_us=TIMES[-1])["rows"]
    assert [row["t"] for row in rows] == TIMES[-4:-1]  # t is before, and each follows another
    with aged.service.http() as http:
        whole = http.get("/v1/features/X:BTCUSD", params={**AT, "limit": 1_000}).json()["rows"]
    assert len(whole) == len(TIMES)
    assert whole[-1]["t"] == TIMES[-1] + 60_000_000  # its minute's end
    assert any(value is not None for value in whole[-1]["values"].values())
