"""Issue 6, part 4: what is served is the lake's newest row, bit for bit, and an audit holds it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from feature_repo.feast_answers import FeastAnswers
from feature_repo.feature_set import MARKET
from feature_repo.store import wire
from feature_repo.store.served import TRIES_MAX, Served, connect
from feature_repo.store.views import PRICE_MOMENTUM, view
from flows.features_to_online import Step
from flows.online_to_quality import ALERT
from infra.command.main import run
from lake.errors import Damaged, Unavailable, WrongUse
from lake.hot.alerts import open_alerts
from lake.quality import book
from lake.steps import LostAnswer, Steps
from serving.live.online import Online
from tests.bars.trading import EPOCH
from tests.features.feast_home import BTC, ETH, OLD, FeastHome
from tests.features.house import BARS, MINUTES, NOW, ROWS, US

NEWEST = (
    "SELECT event_time, {columns} FROM features_market QUALIFY row_number() OVER (PARTITION BY"
    " ticker ORDER BY event_time DESC, available_time DESC, recorded_time DESC) = 1"
    " ORDER BY ticker"
)
MARKET_V1, MOMENTUM = OLD


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path, valkey_url: str) -> Iterator[FeastHome]:
    house = FeastHome(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    house.settle(tmp_path, valkey_url, 7)
    house.publish(BARS)
    house.make()
    yield house
    house.close()


def newest(house: FeastHome, columns: str = ", ".join(MARKET.names)) -> pa.Table:
    return house.rows(NEWEST.format(columns=columns))


def same_bits(one: pa.Table, other: pa.Table) -> bool:
    """Tell whether two tables are equal, and every float by its bits."""
    return one.cast(other.schema).equals(other) and all(
        np.array_equal(*(t[name].fill_null(0.0).to_numpy().view(np.int64) for t in (one, other)))
        for name in other.column_names[1:]
    )


def test_newest_rows_are_served_and_a_second_run_changes_nothing(house: FeastHome) -> None:
    assert house.serve() == Step(written=4, newer=0, series=2)
    assert same_bits(house.served(), newest(house))
    assert same_bits(house.served(view=1), newest(house, ", ".join(PRICE_MOMENTUM.columns)))
    before = house.served()
    house.serve()
    assert house.served().equals(before)
    assert house.audit().result.holds


def test_a_writing_is_told_as_lineage_and_a_column_names_its_views(
    house: FeastHome, capsys: pytest.CaptureFixture[str]
) -> None:
    house.serve()
    with pytest.raises(LostAnswer):
        house.serve(steps=Steps({"online.written": ("lost-answer", 1)}))
    with psycopg.connect(house.dsn) as connection:
        told = connection.execute(
            "SELECT event_type, event::json FROM market.lineage_events"
            " WHERE job = 'features_to_online' ORDER BY event_no"
        ).fetchall()
    assert [kind for kind, _ in told] == ["START", "COMPLETE", "START", "FAIL"]
    start, end = (
        {each["name"]: each for each in event["outputs"]}["online.market.features_market"]
        for _, event in told[:2]
    )
    column = start["facets"]["columnLineage"]["fields"]["sma_20"]["inputFields"]
    assert [each["name"] for each in column] == ["lake.market.features_market"]
    assert start["facets"]["storage"]["storageLayer"] == "redis"
    assert end["outputFacets"]["outputStatistics"]["rowCount"] == 4
    assert run(["lineage", "--home", str(house.home)]) == 0
    assert "COMPLETE  features_to_online" in capsys.readouterr().out
    assert run(["lineage", "market.features_market.sma_20", "--down"]) == 0
    shown = capsys.readouterr().out
    assert "> online.price_momentum.sma_20" in shown
    assert "> online.market_v1.sma_20" in shown


def test_a_late_tick_of_the_last_bar_is_served(house: FeastHome) -> None:
    house.serve()
    old = MINUTES.slice(ROWS - 1, 1)
    row = old.to_pylist()[0]
    late = {**row, "close": row["high"], "received_time": row["event_time"] + timedelta(hours=1)}
    house.publish(pa.Table.from_pylist([late], schema=BARS.schema), old)
    house.make()
    before = house.served()
    house.serve()
    assert same_bits(house.served(), newest(house))
    assert not house.served().equals(before)


def test_a_run_that_dies_is_made_good_by_the_next(house: FeastHome) -> None:
    with pytest.raises(LostAnswer):
        house.serve(steps=Steps({"online.written": ("lost-answer", 1)}))
    house.serve()
    assert same_bits(house.served(), newest(house))
    connect(house.url).flushdb()
    assert house.serve().written == 4


def test_a_pushed_newer_value_stays_and_is_not_judged_before_the_lake_has_it(
    house: FeastHome,
) -> None:
    house.serve()
    pushed = newest(house).slice(0, 1)
    later = pa.array(pushed["event_time"].cast(pa.int64()).to_numpy() + 60_000_000)
    series = dict(zip(("ticker", "exchange", "market", "interval"), BTC, strict=True))
    row = pa.table({**{name: [value] for name, value in series.items()}, "event_time": later})
    for name in MARKET.names:
        row = row.append_column(name, pushed[name])
    with Served(house.url) as served:
        served.write(row, MARKET_V1, (NOW - EPOCH) // US)
    assert house.serve() == Step(written=3, newer=1, series=2)
    assert house.served()["event_time"].cast(pa.int64())[0] == later[0]
    run = house.audit()
    assert (run.result.checked, run.ahead, run.result.failed) == (3, 1, 0)


def live_rows(house: FeastHome, later_us: int, degraded: list[str]) -> pa.Table:
    """Return the lake's newest rows as a worker has them, so much later."""
    columns = ", ".join(("ticker", "exchange", "market", '"interval"', *MARKET.names))
    rows = newest(house, columns)
    times = pa.array(rows["event_time"].cast(pa.int64()).to_numpy() + later_us)
    rows = rows.set_column(0, "event_time", times.cast(pa.timestamp("us", "UTC")))
    marked = pa.array([degraded] * rows.num_rows, pa.list_(pa.string()))
    return rows.append_column("degraded", marked)


def test_a_worker_pushes_its_newest_whole_rows_and_the_lake_catches_up(house: FeastHome) -> None:
    house.serve()
    now_us = (NOW - EPOCH) // US
    with Online(house.url, MARKET, OLD) as online:
        assert online.push(live_rows(house, -60_000_000, []), now_us) == 0  # older ones
        assert online.push(live_rows(house, 60_000_000, ["sma_20"]), now_us) == 0
        rows = live_rows(house, 0, [])
        assert online.push(pa.concat_tables([live_rows(house, -1, []), rows]), now_us) == 4
        assert same_bits(house.served(), newest(house))
        assert house.audit().result.holds
        rows = live_rows(house, 60_000_000, [])
        known_us = (NOW - EPOCH) // US - 7
        known = pa.array([known_us] * rows.num_rows, pa.timestamp("us", "UTC"))
        assert online.push(rows.append_column("live_time", known), now_us) == 4
    assert house.audit().ahead == 4
    with Served(house.url) as served:
        for each in OLD:
            assert served.read([BTC, ETH], each).known_us.tolist() == [known_us] * 2
    with FeastAnswers(house.url) as feast:
        assert same_bits(feast.read([BTC, ETH], MARKET_V1).table(), house.served())


def test_when_a_value_was_known_is_served_and_held_by_the_audit(house: FeastHome) -> None:
    house.serve()
    lake = newest(house, "available_time")["available_time"].cast(pa.int64()).to_pylist()
    with Served(house.url) as served:
        found = served.read([BTC, ETH], MARKET_V1)
        assert found.known_us.tolist() == lake
        (event_us, _), (known_us, _) = found.event_us.tolist(), lake
        key = wire.hash_key("ticklake", (BTC[1], BTC[3], BTC[2], BTC[0]))
        field = wire.known_field("market_v1")
        fields = connect(house.url).execute_command("HTTL", key, "FIELDS", 1, field)
        assert 0 < fields[0] <= MARKET_V1.ttl.total_seconds()
        connect(house.url).hset(key, field, wire.known_bytes(event_us, known_us + 1))
        [fault] = house.audit().result.rows
        assert (fault["view"], fault["fault"]) == ("market_v1", "known at another time")
        connect(house.url).hset(key, field, wire.known_bytes(event_us - 1, known_us + 1))
        assert served.read([BTC], MARKET_V1).known_us.tolist() == [-1]  # another's writing since
        assert house.audit().result.holds


def test_a_worker_goes_on_where_the_store_is_away() -> None:
    rows = pa.table(
        {
            **{name: ["a"] for name in ("ticker", "exchange", "market", "interval")},
            "event_time": pa.array([0], pa.timestamp("us", "UTC")),
            **{name: pa.array([1.0]) for name in MARKET.names},
            "degraded": pa.array([[]], pa.list_(pa.string())),
        }
    )
    with Online("redis://127.0.0.1:1/0", MARKET) as online:
        assert online.push(rows, 1) == 0


def test_another_bit_is_found_told_and_over_when_it_is_written_anew(house: FeastHome) -> None:
    house.serve()
    key = wire.hash_key("ticklake", (BTC[1], BTC[3], BTC[2], BTC[0]))
    field = wire.field("market_v1", "sma_20")
    redis = connect(house.url)
    held = redis.hget(key, field)
    assert isinstance(held, bytes)
    redis.hset(key, field, held[:1] + bytes([held[1] ^ 1]) + held[2:])
    run = house.audit()
    assert (run.result.checked, run.result.failed) == (4, 1)
    assert run.result.rows[0]["fault"] == "other bits in sma_20"
    assert run.result.rows[0]["ticker"] == "X:BTCUSD"
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        assert [alert.thing for alert in open_alerts(connection)] == [ALERT]
        rows = [row for row in book.of_run(connection, run.number) if row["status"] == "failed"]
        assert [row["rule"] for row in rows] == ["online_equals_lake"]
        house.serve()
        assert house.audit().result.holds
        assert open_alerts(connection) == []


def test_what_is_gone_is_found(house: FeastHome) -> None:
    house.serve()
    connect(house.url).delete(wire.hash_key("ticklake", (BTC[1], BTC[3], BTC[2], BTC[0])))
    faults = [row["fault"] for row in house.audit().result.rows]
    assert faults == ["not served", "not served"]


def test_a_value_leaves_with_its_ttl(house: FeastHome) -> None:
    house.serve()
    key = wire.hash_key("ticklake", (BTC[1], BTC[3], BTC[2], BTC[0]))
    fields = [wire.time_field("market_v1"), wire.field("market_v1", "sma_20")]
    age = NOW - newest(house, "sma_20")["event_time"][0].as_py()
    left = connect(house.url).execute_command("HTTL", key, "FIELDS", len(fields), *fields)
    for left_s in left:
        assert 0 <= (MARKET_V1.ttl - age).total_seconds() - left_s < 60
    assert house.serve(after=timedelta(days=100)).series == 0


def test_a_view_s_old_values_leave_while_another_view_s_are_served(house: FeastHome) -> None:
    """Both are fields of one hash; a hash that was to go as a whole, as before, stays for them."""
    house.serve()
    key = wire.hash_key("ticklake", (BTC[1], BTC[3], BTC[2], BTC[0]))
    connect(house.url).pexpire(key, 3_600_000)
    rows = newest(house, ", ".join(("ticker", "exchange", "market", '"interval"', *MARKET.names)))
    rows = rows.filter(pc.equal(rows["ticker"], BTC[0]))
    event_us = rows["event_time"].cast(pa.int64())[0].as_py()
    nearly_us = event_us + MARKET_V1.ttl // US - 200_000
    momentum = house.served(view=1)
    with Served(house.url) as served:
        assert served.write(rows, MARKET_V1, nearly_us).written == 1
        deadline = time.monotonic() + 60
        while served.read([BTC], MARKET_V1).event_us[0] >= 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not served.read([BTC], MARKET_V1).there.any()
        assert house.served(view=1).equals(momentum)
        assert connect(house.url).pttl(key) == -1
        assert served.write(rows, MARKET_V1, event_us).written == 1
        assert served.read([BTC], MARKET_V1).event_us.tolist() == [event_us]


def test_a_dead_server_is_one_sentence(house: FeastHome) -> None:
    house.url = "redis://:secret@127.0.0.1:1/0"
    with pytest.raises(Unavailable, match=r"^online store at 127\.0\.0\.1:1: .*ticklake up$") as no:
        house.serve()
    assert "secret" not in str(no.value)
    assert "\n" not in str(no.value)


def test_bytes_of_others_are_named(house: FeastHome) -> None:
    house.serve()
    key = wire.hash_key("ticklake", (BTC[1], BTC[3], BTC[2], BTC[0]))
    connect(house.url).hset(key, wire.field("market_v1", "macd"), b"text")
    with pytest.raises(Damaged, match="market_v1 holds bytes that are not a double"):
        house.served()


def test_unknown_views_are_named() -> None:
    assert TRIES_MAX > 1
    with pytest.raises(WrongUse, match="there is no such view: one of: market_v1"):
        view("market_v9")
