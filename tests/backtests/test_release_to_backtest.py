"""Issue 6, parts 6 and 7: a backtest of a release is the same whenever and wherever it is made."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.trading.limits import Limits
from feature_repo.trading.money import units
from flows.backtest_plan import Plan, plan_of, values_of
from flows.backtest_to_sheet import sheet
from flows.file_to_funding_rates import store
from flows.release_rows import MADE_BY
from flows.release_to_backtest import Backtest, again, backtest
from flows.small_files_to_large import keep
from lake.clock import SystemClock
from lake.errors import BadInput, Unavailable, WrongUse
from lake.receipts.receipt import differences, read, save
from lake.tables.upkeep import UpkeepLimits
from tests.backtests.research import HOURS_US, Research, plan, research, rows
from tests.conftest import Databases
from tests.trading.made import NOON, NOON_US, bar_rows

CLOCK = SystemClock()
SOON = UpkeepLimits(merge_factor=2, snapshots_max=2, snapshots_kept=1)


def snapshots_of(house: Research) -> set[int]:
    return {each.snapshot_id for each in house.table("bars").metadata.snapshots}


def run(house: Research, plan: Plan) -> Backtest:
    with house.client(plan.release) as client:
        return backtest(rows(client), plan)


def test_buy_and_hold_of_a_release_is_its_price_path_less_the_fee(house: Research) -> None:
    found = run(house, plan("buy-and-hold", params={"size": "2"}))
    bars = bar_rows(1, 480)
    paid = bars["open"][1].as_py() * Decimal("1.0001")
    fee = 2 * paid * Decimal("0.0005")
    last = 1_000_000 + 2 * (bars["close"][-1].as_py() - paid) - fee
    equity = found.chosen.outcome.equity["equity"]
    assert equity[-1].as_py().quantize(Decimal("0.01")) == last.quantize(Decimal("0.01"))
    assert len(equity) == 480


def test_a_sweep_chooses_what_a_single_run_confirms_to_the_last_unit(house: Research) -> None:
    swept = run(house, plan(sweep={"fast": values_of("2:6:2"), "slow": ("10", "20")}))
    assert swept.trials.num_rows == len(swept.sharpes) == 6
    assert swept.trials.column_names == ["fast", "slow", "orders", "fills", "equity"]
    assert swept.trials["fast"].to_pylist() == ["2", "2", "4", "4", "6", "6"]
    best = max(range(6), key=lambda n: swept.sharpes[n])
    assert swept.chosen.params["fast"] == swept.trials["fast"][best].as_py()
    single = run(house, plan(params=dict(swept.chosen.params)))
    assert single.chosen.outcome.tables() == swept.chosen.outcome.tables()
    assert single.deflated > swept.deflated
    limited = run(house, plan(sweep={"fast": ("2", "4")}, limits=Limits(size=units("0.5"))))
    assert limited.chosen.outcome.orders["state"].unique().to_pylist() == ["rejected"]


def test_ticks_fill_against_quotes(house: Research) -> None:
    by_ticks = run(house, plan("buy-and-hold", feed="ticks"))
    bars = bar_rows(1, 480)
    (fill,) = by_ticks.chosen.outcome.fills.to_pylist()
    assert fill["price"] == bars["close"][0].as_py() + Decimal("0.5")
    assert by_ticks.data.keys() == {f"{each} X:BTCUSD" for each in ("bars", "quotes", "trades")}
    crossed = run(house, plan(feed="ticks", params={"fast": "3", "slow": "9"}))
    assert crossed.chosen.outcome.fills.num_rows > 10


def test_ticks_of_imported_history_are_known_as_their_contract_promises(
    databases: Databases, migrated_template: str, tmp_path: Path
) -> None:
    """All of them came two years later; a span's orders meet its own quotes all the same."""
    with research(databases, migrated_template, tmp_path / "imported") as other:
        other.fill(imported=datetime(2026, 8, 8, tzinfo=UTC))
        other.release("first")
        found = run(other, plan(feed="ticks", params={"fast": "3", "slow": "9"}))
        held = run(other, plan("buy-and-hold", params={"size": "2"}))
    filled = [each - NOON for each in found.chosen.outcome.fills["event_time"].to_pylist()]
    assert len(filled) > 10
    assert filled == sorted(filled)
    assert timedelta(0) < filled[0] < filled[-1] < timedelta(hours=8)
    assert held.chosen.outcome.fills["event_time"].to_pylist() == [NOON + timedelta(minutes=1)]


def test_a_release_holds_the_funding_rates_of_its_time(house: Research, tmp_path: Path) -> None:
    """A position of 2 pays 0.01 % of its value after four hours; a later rate is not in."""
    given = {"ticker": "X:BTCUSD", "exchange": "sim", "market": "spot"}
    path = tmp_path / "rates.csv"
    due = [int((NOON + timedelta(hours=each)).timestamp()) * 1_000 for each in (4, 6)]
    path.write_text(f"calc_time,last_funding_rate\n{due[0]},0.0001\n")
    store(house.dsn, house.place, path, given)
    house.release("funded")
    path.write_text(f"calc_time,last_funding_rate\n{due[1]},0.5\n")
    store(house.dsn, house.place, path, given)
    asked = plan("buy-and-hold", release="funded", funding=True, params={"size": "2"})
    found = run(house, asked)
    close = bar_rows(1, 480)["close"][239].as_py()
    assert found.chosen.outcome.funding["paid"].to_pylist() == [2 * close * Decimal("0.0001")]
    free = run(house, replace(asked, funding=False)).chosen.outcome.equity["equity"]
    equity = found.chosen.outcome.equity["equity"]
    assert free[-1].as_py() - equity[-1].as_py() == 2 * close * Decimal("0.0001")


def test_a_receipt_holds_after_upkeep_and_expiry_and_in_another_home(
    house: Research, databases: Databases, migrated_template: str, tmp_path: Path
) -> None:
    asked = plan(sweep={"fast": ("3", "5"), "slow": ("12",)})
    path = save(run(house, asked).receipt(CLOCK), tmp_path / "receipts")
    receipt = read(path)
    seen, removed = set[int](), 0
    for n in range(4):
        house.more(n)
        seen |= snapshots_of(house)
        kept = keep(house.dsn, house.place, CLOCK, "bars", grace_s=0, sweep_age_s=0, limits=SOON)
        removed += kept.files_removed
    assert len(seen - snapshots_of(house)) >= 2
    assert removed > 0
    assert differences(receipt, again(house.home, receipt)) == []
    with research(databases, migrated_template, tmp_path / "other") as other:
        other.fill()
        other.release("first")
        assert differences(receipt, again(other.home, receipt)) == []


def test_another_value_in_the_data_is_found(
    house: Research, databases: Databases, migrated_template: str, tmp_path: Path
) -> None:
    receipt = run(house, plan()).receipt(CLOCK)
    with research(databases, migrated_template, tmp_path / "other") as other:
        other.fill(seed=2)
        other.release("first")
        found = differences(receipt, run(other, plan()).receipt(CLOCK))
    assert found[0].what == "data bars X:BTCUSD"
    assert {"result equity", "result fills"} <= {each.what for each in found}
    assert all(each.fault for each in found)


def test_predictions_of_a_file_are_followed(house: Research, tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    times = [NOON + timedelta(minutes=n) for n in (10, 20)]
    table = pa.table(
        {
            "ticker": ["X:BTCUSD"] * 2,
            "exchange": ["sim"] * 2,
            "market": ["spot"] * 2,
            "event_time": times,
            "available_time": [each + timedelta(seconds=1) for each in times],
            "prediction": [0.7, -0.2],
        }
    )
    pq.write_table(table, path)
    found = run(house, plan("model-signal", predictions=str(path)))
    assert [each - NOON for each in found.chosen.outcome.fills["event_time"].to_pylist()] == [
        timedelta(minutes=11),
        timedelta(minutes=21),
    ]
    assert "predictions all" in found.data
    pq.write_table(table.set_column(4, "available_time", [[NOON, NOON]]), path)
    with pytest.raises(BadInput, match="known before the time that it is of"):
        run(house, plan("model-signal", predictions=str(path)))
    pq.write_table(table.drop_columns(["prediction"]), path)
    with pytest.raises(BadInput, match="a Parquet file with ticker"):
        run(house, plan("model-signal", predictions=str(path)))


def test_a_receipt_names_the_model_and_features_that_a_file_of_predictions_says(
    house: Research, tmp_path: Path
) -> None:
    path = tmp_path / "predictions.parquet"
    one = {"ticker": "X:BTCUSD", "exchange": "sim", "market": "spot", "prediction": 0.5}
    rows = pa.Table.from_pylist([{**one, "event_time": NOON, "available_time": NOON}])
    said = {"models": {"direction": "3"}, "features": {"market": "1"}}
    pq.write_table(rows.replace_schema_metadata({MADE_BY: json.dumps(said)}), path)
    asked = plan("model-signal", predictions=str(path))
    receipt = run(house, asked).receipt(CLOCK)
    assert receipt.inputs.models == {"direction": "3"}
    assert receipt.inputs.features == {"market": "1"}
    pq.write_table(rows.replace_schema_metadata({MADE_BY: b'{"models": {"direction": "4"}}'}), path)
    found = differences(receipt, run(house, asked).receipt(CLOCK))
    assert [each.line() for each in found] == [
        "model direction: was 3, is 4",
        "feature market: was 1, is none",
    ]
    pq.write_table(rows, path)
    assert run(house, asked).receipt(CLOCK).inputs.models == {}
    pq.write_table(rows.replace_schema_metadata({MADE_BY: b"[]"}), path)
    with pytest.raises(BadInput, match="does not say whose it is"):
        run(house, asked)


def test_a_span_that_the_release_holds_a_part_of_is_said(house: Research) -> None:
    whole, more = run(house, plan()), run(house, plan(last_us=NOON_US + 9 * HOURS_US))
    assert whole.partly() == {}
    assert more.partly() == {"bars X:BTCUSD": (NOON_US, NOON_US + 8 * HOURS_US)}
    receipt = more.receipt(CLOCK)
    span = "2024-08-08T12:00:00+00:00/2024-08-08T20:00:00+00:00"
    assert receipt.inputs.spans == {"bars X:BTCUSD": span}
    said = "The release holds bars X:BTCUSD of 2024-08-08 12:00 to 2024-08-08 20:00 UTC only."
    assert said in sheet(more, receipt)
    assert said not in sheet(whole, whole.receipt(CLOCK))
    ticks = run(house, plan(feed="ticks", first_us=NOON_US - HOURS_US))
    assert list(ticks.partly()) == ["quotes X:BTCUSD"]


def test_what_a_release_lacks_is_said_in_a_sentence(house: Research) -> None:
    early = plan(first_us=NOON_US - HOURS_US, last_us=NOON_US)
    with pytest.raises(Unavailable, match=r"release first: has no bars of 1m of X:BTCUSD from"):
        run(house, early)
    with pytest.raises(Unavailable, match="has no bars of 1m of X:NONE"):
        run(house, replace(plan(), tickers=("X:NONE",)))
    with pytest.raises(WrongUse, match="release none: no such release"):
        run(house, replace(plan(), release="none"))


def test_a_sheet_stands_alone(house: Research) -> None:
    found = run(house, plan(sweep={"fast": ("2", "3"), "slow": ("9",)}))
    page = sheet(found, found.receipt(CLOCK))
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<svg") == 2
    assert found.receipt(CLOCK).result_hash in page
    for said in ("deflated Sharpe ratio", "Returns by month", "Spread and slippage", "2024"):
        assert said in page, said


def test_a_plan_is_read_as_it_was_written() -> None:
    asked = plan(sweep={"fast": ("1", "2")}, params={"slow": "9"}, limits=Limits(units("1")))
    assert plan_of(asked.document()) == asked
    assert list(asked.choices()) == [{"slow": "9", "fast": "1"}, {"slow": "9", "fast": "2"}]
    with pytest.raises(BadInput, match="config: can't be read"):
        plan_of({**asked.document(), "unknown": 1})


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"last_us": NOON_US}, "--to is not after --from"),
        ({"interval": "2m"}, "interval 2m: is none: one of 1s, 1m"),
        ({"tickers": ()}, "names no ticker"),
        ({"cash": 0}, "has no cash"),
        ({"sweep": {"fast": ("1",) * 101, "slow": ("2",) * 100}}, "are 10,100 trials"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changed: dict[str, object], fault: str) -> None:
    with pytest.raises(WrongUse, match=fault):
        plan(**changed)


def test_values_of_a_sweep() -> None:
    assert values_of("5:20:5") == ("5", "10", "15", "20")
    assert values_of("0.5:1:0.25") == ("0.5", "0.75", "1")
    assert values_of("1:3") == ("1", "2", "3")
    assert values_of("3, 7") == ("3", "7")
    with pytest.raises(WrongUse, match="is no stretch"):
        values_of("5:1:1")
