"""Issue 6, part 4: Feast's own command and API on the lakehouse, with our join under them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore
from feast.data_source import PushMode
from feast.repo_operations import get_repo_files

from feature_repo import definitions
from feature_repo.feast_answers import FeastAnswers
from feature_repo.feature_set import MARKET, SETS
from feature_repo.store import wire
from feature_repo.store.place import HOME, PROJECT, REPO
from feature_repo.store.served import Values, connect
from feature_repo.store.views import MARKET_V1, PRICE_MOMENTUM, SERIES, VIEWS, View
from flows.online_to_quality import FEAST, OURS
from flows.scheduled.online import compare_served
from infra.command.main import run
from lake.clock import ManualClock
from lake.errors import TicklakeError, Unavailable, WrongUse
from lake.parts import nobody
from lake.training.training_set import training_set
from lake.views.client import Client
from tests.bars.trading import EPOCH
from tests.conftest import Databases
from tests.features.feast_home import BTC, ETH, OLD, FeastHome
from tests.features.house import BARS, MINUTES, NOW, ROWS, US

REFS = [f"price_momentum:{each}" for each in PRICE_MOMENTUM.columns]
HOUR = timedelta(hours=1)
THEN = pc.max(BARS["event_time"]).as_py() + timedelta(days=2)
"""When Feast writes: what it wrote lives on then."""


@pytest.fixture(scope="module")
def house(
    databases: Databases,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
    valkey_url: str,
) -> Iterator[FeastHome]:
    """A lake with bars of which one came late, served."""
    name = databases.create(migrated_template)
    home = tmp_path_factory.mktemp("feast-home")
    house = FeastHome(databases.dsn(name), home / "warehouse")
    house.start_shard(0)
    house.settle(home, valkey_url, 8)
    house.publish(BARS)
    house.make()
    old = MINUTES.slice(ROWS - 40, 1)
    row = old.to_pylist()[0]
    late = {**row, "close": row["high"], "received_time": row["event_time"] + HOUR}
    house.publish(pa.Table.from_pylist([late], schema=BARS.schema), old)
    house.make()
    house.serve()
    before = os.environ.get(HOME)
    os.environ[HOME] = str(home)
    yield house
    os.environ.pop(HOME)
    if before is not None:
        os.environ[HOME] = before
    house.close()
    databases.drop(name)


@pytest.fixture(scope="module")
def store(house: FeastHome) -> FeatureStore:
    assert "market_v1" in feast("apply")
    found = FeatureStore(repo_path=str(REPO))
    found._get_provider().online_store.clock = ManualClock((THEN - EPOCH) // US)
    return found


def feast(*words: str) -> str:
    """Run the command in feature_repo/ and return what it says."""
    command = [str(Path(sys.executable).parent / "feast"), *words]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows_of(*, count: int = 120) -> pd.DataFrame:
    """Return rows of both series and one that has none, out of order, and some before any value."""
    last = BARS["event_time"][ROWS - 1].as_py()
    made = [
        {
            **dict(zip(SERIES, series, strict=True)),
            "event_timestamp": last - n * timedelta(minutes=11, seconds=13) + HOUR,
            "label": n,
        }
        for n in range(count)
        for series in (BTC, ETH, ("X:NONE", "sim", "spot", "1m"))
    ]
    return pd.DataFrame(made).sample(frac=1, random_state=3).reset_index(drop=True)


def test_only_the_definitions_are_imported_by_feast() -> None:
    assert get_repo_files(REPO) == [REPO / "definitions.py"]


def test_every_version_of_a_set_has_a_view_and_a_service() -> None:
    named = {name: vars(definitions).get(name) for each in VIEWS for name in (each.name,)}
    assert all(view is not None and view.ttl == timedelta(days=7) for view in named.values())
    services = {
        each.name
        for each in vars(definitions).values()
        if hasattr(each, "feature_view_projections")
    }
    whole = {f"{each.name}_v{each.version}" for each in SETS}
    assert whole <= services
    assert whole <= {each.name for each in VIEWS if list(each.columns) == each.of.names}


def test_the_command_lists_what_was_applied(store: FeatureStore) -> None:
    listed = feast("feature-views", "list")
    assert "price_momentum" in listed
    assert "market_v1" in listed
    found = store.get_feature_view("price_momentum")
    assert [each.name for each in found.features] == list(PRICE_MOMENTUM.columns)
    assert found.ttl == timedelta(days=7)
    assert {each.name for each in store.list_feature_services()} == {
        *(f"{each.name}_v{each.version}" for each in SETS),
        "price_momentum_v1",
    }


def test_historical_features_are_our_join_row_for_row(
    house: FeastHome, store: FeatureStore, tmp_path: Path
) -> None:
    rows = rows_of()
    found = store.get_historical_features(rows, REFS).to_arrow()
    with Client(house.dsn, house.place) as client:
        table = PRICE_MOMENTUM.table()
        made = training_set(
            client,
            pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(),
            [table],
            tmp_path / "ours.parquet",
            time="event_timestamp",
            lacking="null",
        )
    ours = pq.read_table(made.path).sort_by("probe").drop_columns(["probe"])
    assert found.num_rows == len(rows)
    assert found.select(ours.column_names).cast(ours.schema).equals(ours)
    assert found["label"].to_pylist() == rows["label"].tolist()
    assert 0 < found["macd"].null_count < found.num_rows


def test_full_names_services_sql_and_on_demand(store: FeatureStore) -> None:
    service = store.get_feature_service("market_v1")
    rows = rows_of(count=4).assign(price=101.0)
    whole = store.get_historical_features(rows, service).to_df()
    assert len(whole) == len(rows)
    assert set(MARKET.names) <= set(whole.columns)
    both = store.get_historical_features(
        rows, [*REFS, "market_v1:sma_20"], full_feature_names=True
    ).to_df()
    assert both["price_momentum__sma_20"].equals(both["market_v1__sma_20"])
    asked = store.get_historical_features(
        rows, ["market_v1:sma_20", "price_over_mean:price_over_sma_20"]
    ).to_df()
    assert asked["price_over_sma_20"].astype(float).equals(101.0 / asked["sma_20"] - 1)
    sql = (
        'SELECT ticker, exchange, market, "interval", event_time + INTERVAL 1 HOUR AS'
        " event_timestamp FROM bars ORDER BY event_time LIMIT 30"
    )
    assert len(store.get_historical_features(sql, REFS).to_df()) == 30


def test_online_features_are_the_lake_s(house: FeastHome, store: FeatureStore) -> None:
    entities = [dict(zip(SERIES, each, strict=True)) for each in (BTC, ETH)]
    service = store.get_feature_service("market_v1")
    found = store.get_online_features(service, entities).to_dict()
    ours = house.served().to_pydict()
    assert {name: found[name] for name in MARKET.names} == {
        name: ours[name] for name in MARKET.names
    }
    priced = [{**each, "price": 101.0} for each in entities]
    names = ["market_v1:sma_20", "price_over_mean:price_over_sma_20"]
    asked = store.get_online_features(names, priced).to_dict()
    assert asked["price_over_sma_20"][0] == 101.0 / asked["sma_20"][0] - 1


def test_the_audit_asks_feast_too_and_names_who_answers_otherwise(house: FeastHome) -> None:
    class Bent(FeastAnswers):
        """A client whose answers are not what is served."""

        def read(self, series: Any, view: View) -> Values:
            values = super().read(series, view)
            values.bits[0, 0] ^= 1
            return replace(values, event_us=values.event_us - [0, 60_000_000])

    house.serve()
    key = wire.hash_key(PROJECT, (BTC[1], BTC[3], BTC[2], BTC[0]))
    with FeastAnswers(house.url) as feast:
        for view in OLD:
            mine, ours = feast.read([BTC, ETH], view), house.served(OLD.index(view))
            assert mine.table().equals(ours)
        run = house.audit(others={FEAST: feast})
        assert (run.result.checked, run.ahead, run.result.failed) == (8, 0, 0)
        connect(house.url).delete(key)
        faults = [
            (row["client"], row["fault"]) for row in house.audit(others={FEAST: feast}).result.rows
        ]
        assert sorted(set(faults)) == [(FEAST, "not served"), (OURS, "not served")]
    house.serve()
    with Bent(house.url) as bent:
        found = house.audit(others={FEAST: bent}).result
    assert (found.checked, found.failed) == (8, 4)
    assert {row["client"] for row in found.rows} == {FEAST}
    assert any(row["fault"].startswith("other bits in") for row in found.rows)
    assert any(row["fault"].startswith("served is that of") for row in found.rows)
    assert house.audit().result.holds
    assert compare_served.fn(house.home, nobody).result.holds  # as the flow does it, of rows of now


def test_feast_s_own_writer_and_ours_write_the_same(house: FeastHome, store: FeatureStore) -> None:
    before = house.served()
    entities = pd.DataFrame([dict(zip(SERIES, each, strict=True)) for each in (BTC, ETH)])
    pushed = pd.concat([entities, before.to_pandas()], axis=1)
    pushed["event_time"] += timedelta(days=1)
    pushed["available_time"] = pushed["event_time"]
    store.push("market_v1_push", pushed, to=PushMode.ONLINE)
    after = house.served()
    assert after.drop_columns(["event_time"]).equals(before.drop_columns(["event_time"]))
    assert after["event_time"].to_pylist() == [
        each + timedelta(days=1) for each in before["event_time"].to_pylist()
    ]
    key = wire.hash_key(PROJECT, (BTC[1], BTC[3], BTC[2], BTC[0]))
    fields = [wire.time_field("market_v1"), wire.field("market_v1", "sma_20")]
    left = connect(house.url).execute_command("HTTL", key, "FIELDS", len(fields), *fields)
    old = THEN - after["event_time"][0].as_py()
    for left_s in left:
        assert abs((MARKET_V1.ttl - old).total_seconds() - left_s) < 60
    store.push("market_v1_push", pushed.assign(event_time=THEN - MARKET_V1.ttl), PushMode.ONLINE)
    assert house.served().equals(after), "an older value took the end of the newer one"


def test_materialize_of_feast_takes_the_newest_of_the_lake(
    house: FeastHome, store: FeatureStore
) -> None:
    house.settle(house.home, house.url.rpartition("/")[0], 8)
    first = BARS["event_time"][0].as_py()
    store.materialize(first, first + timedelta(days=3), feature_views=["price_momentum"])
    found = house.served(view=1)
    house.serve()
    assert found.equals(house.served(view=1))


def test_what_can_t_be_done_is_one_sentence(house: FeastHome, store: FeatureStore) -> None:
    with pytest.raises(WrongUse, match="features of the lake are made of its bars alone"):
        store.write_to_offline_store(
            "price_momentum",
            rows_of(count=1)
            .rename(columns={"event_timestamp": "event_time"})
            .assign(available_time=NOW, recorded_time=NOW, arrival="live", set_version=1)
            .assign(**dict.fromkeys(MARKET.names, 1.0))
            .drop(columns="label"),
        )
    two = rows_of(count=1).rename(columns={"event_timestamp": "one"}).assign(two=NOW)
    with pytest.raises((TicklakeError, ValueError)):
        store.get_historical_features(two, REFS).to_df()


def test_a_dead_online_store_is_one_sentence(house: FeastHome, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    state = (house.home / "run" / "state.json").read_text()
    url = house.url
    (tmp_path / "run" / "state.json").write_text(state.replace(url, "redis://127.0.0.1:1/0"))
    (tmp_path / "feast").mkdir()
    (tmp_path / "feast" / "registry.db").write_bytes(
        (house.home / "feast" / "registry.db").read_bytes()
    )
    before = os.environ[HOME]
    os.environ[HOME] = str(tmp_path)
    try:
        dead = FeatureStore(repo_path=str(REPO))
        with pytest.raises(Unavailable, match=r"^online store at 127\.0\.0\.1:1: .*ticklake up$"):
            dead.get_online_features(REFS, [dict(zip(SERIES, BTC, strict=True))])
    finally:
        os.environ[HOME] = before


def test_rows_of_a_file_are_joined_by_the_command(
    house: FeastHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(count=20).rename(columns={"event_timestamp": "event_time"})
    rows.to_parquet(tmp_path / "rows.parquet")
    words = [
        "features",
        "join",
        str(tmp_path / "rows.parquet"),
        "-o",
        str(tmp_path / "set.parquet"),
    ]
    home = ["--home", str(house.home)]
    assert run([*words, *home, "--features", "sma_20,rsi_14", "--null"]) == 0
    made = pq.read_table(tmp_path / "set.parquet")
    assert made.num_rows == len(rows)
    assert made.column_names[-3:] == ["probe", "sma_20", "rsi_14"]
    assert run([*words, *home, "--features", "sma_21"]) == 2
    assert "feature sma_21: not in set market" in capsys.readouterr().err
    assert run([*words, *home, "--view", "market_v9"]) == 2
    assert MARKET_V1.name in capsys.readouterr().err


def test_materialize_online_serves(house: FeastHome, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["features", "materialize", "--online", "--home", str(house.home)]) == 0
    assert "rows of features served, of 0 series" in capsys.readouterr().out
