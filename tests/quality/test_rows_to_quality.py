"""Issue 5, part 3: what is wrong or unusual is found once, named, and never dropped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import psycopg
import pyarrow as pa
import pytest

from flows import old_results
from flows.bars_to_anomaly_model import train
from flows.scheduled.quality import broken as said
from lake.clock import ManualClock
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.errors import BadInput, Fenced
from lake.hot.edition import ask
from lake.hot.lease import Lease
from lake.hot.numbered import append
from lake.hot.scores import quality_scores
from lake.quality.book import DATASET, latest, of_run, record
from lake.tables.catalog import open_catalog
from tests.bars.trading import EPOCH, NOON, published_bar
from tests.quality.house import US, House, bar, broken, quote, trade

CRASH = datetime(2025, 10, 10, 21, 15, tzinfo=UTC)


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[House]:
    house = House(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    yield house
    house.close()


def edge(correlation: float) -> dict[str, object]:
    """Return a row of asset_edges without its number."""
    return {
        "event_time": NOON,
        "interval": "1h",
        "window_bars": 100,
        "exchange": "coinbase",
        "market": "spot",
        "ticker": "X:BTCUSD",
        "other": "X:ETHUSD",
        "bars": 90,
        "correlation": Decimal(str(correlation)),
        "lag_bars": 0,
        "lag_correlation": Decimal("0.5"),
        "cluster": 1,
        "other_cluster": 1,
    }


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_a_row_that_breaks_a_contract_is_named_with_its_rule_and_what_to_do(house: House) -> None:
    house.take([trade(at(n), 100 + n / 10) for n in range(50)])
    house.take([trade(at(51), 105, size=Decimal(0)), trade(at(52), 105)])
    [run] = house.look()
    assert broken([run]) == {"crypto_trades.size_positive": 1}
    [error] = run.errors
    assert error.checked == 52
    assert [row["event_time"] for row in error.rows] == [at(51)]
    fault = str(said([(run.number, error)]))
    for word in (
        "1 rows",
        "size_positive",
        "12:00:51",
        "look where they come from",
        "quality show",
    ):
        assert word in fault
    assert house.rows("SELECT count(*) AS n FROM crypto_trades")[0]["n"] == 52


def test_what_was_looked_at_is_not_looked_at_again(house: House) -> None:
    house.take([trade(at(0), 0)])
    assert broken(house.look()) == {"crypto_trades.price_positive": 1}
    assert broken(house.look()) == {}
    house.take([trade(at(1), 0)])
    assert broken(house.look()) == {"crypto_trades.price_positive": 1}


def test_history_in_pieces_finds_the_same(house: House) -> None:
    for n in range(4):
        house.take([trade(at(10 * n + i), 100, size=Decimal(0)) for i in range(10)])
    runs = house.look(rows_max=9)
    assert len(runs) == 4
    assert sum(each.failed for run in runs for each in run.errors) == 40
    assert {each.checked for run in runs for each in run.errors} == {10}


def test_a_time_is_looked_at_again_with_the_same_result(house: House) -> None:
    house.take([trade(at(n), 100, size=Decimal(n % 2)) for n in range(20)])
    house.look()
    for _ in range(2):
        assert broken([house.look_at(at(5), at(15))]) == {"crypto_trades.size_positive": 5}
    assert broken(house.look()) == {}


def test_results_are_in_hot_and_lake_and_each_row_is_seen_once(house: House) -> None:
    house.take([trade(at(0), 100, size=Decimal(0))])
    run = house.look()[0].number
    rows = house.rows(f"FROM {DATASET} WHERE status = 'failed'")
    assert [(row["run_id"], row["rule"], row["rows_failed"]) for row in rows] == [
        (run, "size_positive", 1)
    ]
    assert '"event_time":"2024-08-08T12:00:00+00:00"' in rows[0]["rows_at_fault"]
    with psycopg.connect(house.dsn) as connection:
        stored = connection.execute(f"SELECT count(*) FROM market.{DATASET}").fetchone()
    counts = (
        f"SELECT (SELECT count(*) FROM {DATASET}) AS u, (SELECT count(*) FROM lake.{DATASET}) AS l"
    )
    assert house.rows(counts) == [{"u": stored[0], "l": stored[0]}]
    house.sql(f"DELETE FROM market.{DATASET}")  # as retention does: the lake has them
    assert house.rows(counts) == [{"u": stored[0], "l": stored[0]}]


def test_a_run_that_was_overtaken_leaves_nothing(house: House) -> None:
    house.look()
    before = house.rows(f"SELECT count(*) AS n FROM {DATASET}")
    with psycopg.connect(house.dsn) as connection, pytest.raises(Fenced):
        record(connection, Lease(DATASET, 0), [], {0: 9}, 0)
    assert house.rows(f"SELECT count(*) AS n FROM {DATASET}") == before


def test_a_price_that_jumps_by_more_than_a_fifth_is_a_warning(house: House) -> None:
    house.take([trade(at(0), 100), trade(at(1), 100)])
    house.look()
    house.take([trade(at(2), 121), trade(at(3), 120), trade(at(4), 97), trade(at(5), 96.5)])
    [run] = house.look()
    assert broken([run]) == {"crypto_trades.price_jump": 1}  # 100 to 121, seen across two runs
    assert run.warnings[0].rows[0]["price_before"] == 100
    house.take([trade(at(6), 70)])
    assert broken(house.look()) == {"crypto_trades.price_jump": 1}


def test_crossed_and_locked_quotes_are_told_from_empty_sides(house: House) -> None:
    house.take(
        [
            quote(at(0)),
            quote(at(1), "101", "100"),
            quote(at(2), "100", "100"),
            quote(at(3), "100", "0"),
            quote(at(4), "0", "0"),
        ],
        "crypto_quotes",
    )
    assert broken(house.look()) == {"crypto_quotes.crossed": 1, "crypto_quotes.locked": 1}


def test_a_key_that_comes_again_in_a_later_run_is_an_error(house: House) -> None:
    house.take([trade(at(0)), trade(at(1))])
    assert broken(house.look()) == {}
    house.take([trade(at(1)), trade(at(2))])
    [run] = house.look()
    assert broken([run]) == {"crypto_trades.trade_once": 1}
    assert [row["event_time"] for row in run.errors[0].rows] == [at(1)]


def test_a_minute_that_differs_from_the_venue_s_own_is_a_warning(house: House) -> None:
    house.take(
        [trade(at(60 * m + s), 100 + s, size=Decimal(1)) for m in range(3) for s in range(3)]
    )
    same = {"open": 100, "high": 102, "low": 100, "close": 102, "volume": 3, "vwap": 101}
    same = {name: Decimal(value) for name, value in same.items()}
    bars = [{**published_bar(1, at(60 * m)), **same} for m in range(3)]
    bars[1]["volume"] = Decimal(4)
    house.take(bars, "crypto_aggregates")
    house.make_bars()
    [run] = house.look()
    assert broken([run]) == {"bars.equals_venue": 1}
    assert run.warnings[0].rows[0]["event_time"] == at(60)


def test_a_series_with_a_hole_a_burst_and_a_leap_is_flagged(house: House) -> None:
    steps = [n for n in range(80) if not 60 <= n < 66]
    rows = [bar(at(300 * n), 100 * math.exp(0.001 * (-1) ** n)) for n in steps]
    rows[-1] |= bar(rows[-1]["event_time"], 110, volume=51)
    house.put_bars(rows)
    found = broken(house.look())
    assert found == {"bars.series_gap": 1, "bars.volume_burst": 1, "bars.return_z_score": 1}


def test_a_feed_that_falls_silent_is_stale_until_it_is_long_gone(house: House) -> None:
    house.take([trade(at(0))])  # committed at noon and one second
    silent = {"ingest_batches.stale_feed": 1}
    assert broken(house.look(now=at(200))) == {}
    assert broken(house.look(now=at(400))) == silent
    assert broken(house.look(now=NOON + timedelta(hours=25))) == {}


def test_a_table_that_was_changed_by_hand_is_schema_drift(house: House) -> None:
    house.take([trade(at(0))])
    house.commit()
    assert broken(house.look()) == {}
    house.sql("DROP VIEW market.quality_results_tail")
    house.sql("ALTER TABLE market.quality_results ALTER COLUMN meaning TYPE varchar(900)")
    house.sql("ALTER TABLE market.feed_gaps ADD COLUMN note text")
    [run] = house.look()
    assert broken([run]) == {"quality_results.schema": 1, "feed_gaps.schema": 1}


def test_a_null_where_the_contract_asks_for_a_value_is_an_error(house: House) -> None:
    house.sql("ALTER TABLE market.crypto_trades ALTER COLUMN price DROP NOT NULL")
    house.take([trade(at(0)), trade(at(1))])
    house.sql("UPDATE market.crypto_trades SET price = NULL WHERE event_time = %s", at(1))
    assert broken(house.look()) == {"crypto_trades.not_null.price": 1}


def recorded_bars(data_dir: Path, first: datetime, last: datetime) -> list[dict[str, object]]:
    """Return the recorded bars of five minutes of both instruments in [first, last)."""
    rows = []
    for name in ("BTC", "ETH"):
        path = data_dir / "bars_5m_2025" / f"{name}_USDT_USDT-5m-futures.feather"
        frame = pl.read_ipc(path).filter((pl.col("date") >= first) & (pl.col("date") < last))
        for each in frame.iter_rows(named=True):
            time = each.pop("date").astimezone(UTC)
            exact = {key: Decimal(str(value)) for key, value in each.items()}
            made = {**bar(time, 1, ticker=f"X:{name}USDT"), **exact}
            rows.append(
                {**made, "turnover": exact["close"] * exact["volume"], "vwap": exact["close"]}
            )
    return rows


def test_the_crash_of_october_2025_is_flagged_and_never_dropped(
    house: House, data_dir: Path
) -> None:
    """By rules and by the model that was trained before it; of most bars nothing is said."""
    rows = recorded_bars(data_dir, CRASH - timedelta(days=10), CRASH + timedelta(hours=4))
    house.put_bars([row for row in rows if row["event_time"] < CRASH - timedelta(hours=8)])
    house.look()
    clock = ManualClock((CRASH - EPOCH) // US)
    model = train(house.dsn, house.place, "5m", clock=clock)
    assert model.version == 1
    house.put_bars([row for row in rows if row["event_time"] >= CRASH - timedelta(hours=8)])
    [run] = house.look()
    assert not run.errors
    flagged = {
        each.rule.name: {(row["ticker"], row["event_time"]) for row in each.rows}
        for each in run.warnings
    }
    for ticker in ("X:BTCUSDT", "X:ETHUSDT"):
        for rule in ("return_z_score", "volume_burst", "anomaly_5m"):
            assert (ticker, CRASH) in flagged[rule]
    assert all(len(found) < 0.2 * 12 * 12 * 2 for found in flagged.values())
    assert house.rows("SELECT count(*) AS n FROM bars") == [{"n": len(rows)}]
    kept = {(row["ticker"], row["event_time"], row["low"], row["volume"]) for row in rows}
    stored = house.rows("SELECT ticker, event_time, low, volume FROM bars")
    assert {tuple(row.values()) for row in stored} == kept


def test_the_same_bars_train_the_same_model_and_too_few_train_none(
    house: House, data_dir: Path
) -> None:
    with pytest.raises(BadInput, match="1,000 are needed"):
        train(house.dsn, house.place, "5m")
    house.put_bars(recorded_bars(data_dir, CRASH - timedelta(days=4), CRASH))
    one, two = (train(house.dsn, house.place, "5m") for _ in range(2))
    assert (one.version, two.version) == (1, 2)
    assert (one.centre, one.precision, one.limit) == (two.centre, two.precision, two.limit)


def test_what_is_listed_is_each_rule_s_newest_result(house: House) -> None:
    house.take([trade(at(0), size=Decimal(0))])
    first = house.look()[0].number
    with psycopg.connect(house.dsn) as connection:
        assert [row["rule"] for row in latest(connection, every=False)] == ["size_positive"]
        assert of_run(connection, first)[0]["rows_at_fault"][0]["trade_id"]
        assert 0.9 < quality_scores(connection)["crypto_trades"] < 1
    house.take([trade(at(1))])
    house.look()
    with psycopg.connect(house.dsn) as connection:
        assert latest(connection, every=False) == []
        assert quality_scores(connection)["crypto_trades"] == 1


def test_looks_at_once_take_turns_and_look_at_each_row_once(house: House) -> None:
    house.take([trade(at(n), 100) for n in range(20)])
    house.take([trade(at(30), 100, size=Decimal(0))])
    with ThreadPoolExecutor(3) as pool:
        looks = [each.result(600) for each in [pool.submit(house.look) for _ in range(3)]]
    found = [each for runs in looks for run in runs for each in run.results]
    rows = [each for each in found if each.rule.name == "size_positive" and each.checked]
    assert [(each.checked, each.failed) for each in rows] == [(21, 1)]


def test_what_flows_number_is_looked_at_by_its_contract_once(house: House) -> None:
    """An edge of the network of assets that says more than certainty, for instance."""
    schema = arrow_schema(load("asset_edges"))
    rows = pa.Table.from_pylist(
        [edge(0.5), edge(7.0)], schema=schema.remove(schema.get_field_index("row_no"))
    )
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        append(connection, "asset_edges", rows)
    found = broken(house.look())
    assert {name: n for name, n in found.items() if name.startswith("asset_edges")} == {
        "asset_edges.correlation_bounded": 1
    }
    assert "asset_edges.correlation_bounded" not in broken(house.look())


def test_results_leave_the_hot_tier_at_their_age_once_the_lake_holds_them(house: House) -> None:
    """The view shows them all the same, and the newest of each rule stays where it was."""
    house.take([trade(at(0), size=Decimal(0))])
    house.look()
    house.take([trade(at(1))])
    house.look(now=NOON + timedelta(minutes=9))
    count = "SELECT count(*) AS n FROM quality_results"
    before = house.rows(count)
    later = ManualClock((NOON + timedelta(days=500) - EPOCH) // US)
    with (
        psycopg.connect(house.dsn, autocommit=True) as connection,
        closing(open_catalog(house.dsn, house.place)) as catalog,
    ):
        scores, newest = quality_scores(connection), latest(connection, every=True)
        young = ManualClock((NOON + timedelta(days=2) - EPOCH) // US)
        assert old_results.leave(connection, catalog, young, ask(connection)) == 0
        due = old_results.due(connection, later, ask(connection))
        gone = old_results.leave(connection, catalog, later, ask(connection))
        assert 0 < gone == due
        assert old_results.leave(connection, catalog, later, ask(connection)) == 0
        assert quality_scores(connection) == scores
        assert latest(connection, every=True) == newest
    assert house.rows(count) == before


def test_looking_changes_nothing_that_verify_proves(house: House) -> None:
    house.take([trade(at(0), size=Decimal(0))])
    house.commit()
    house.look()
    report = house.verify()
    assert not report.faults, str(report)
