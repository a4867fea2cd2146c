"""Rows of a training out of a release: what was known of each bar, and what came after it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from feature_repo.compute import features_of
from feature_repo.feature_set import MARKET
from feature_repo.models.rows import rows_of
from flows.release_to_training_rows import Ask, ask_of
from infra.command.main import run
from lake import state
from lake.errors import BadInput, WrongUse
from lake.receipts.receipt import read
from tests.features.bars import walk
from tests.models.released_house import ReleasedHouse, released

HORIZON = 5
SHORT = 500
DAYS_2_US = 2 * 86_400_000_000


def imported(bars: pa.Table) -> pa.Table:
    """Return bars as if all had come two days later, from a history."""
    at = bars.column_names.index("received_time")
    late = pa.array(bars["received_time"].cast(pa.int64()).to_numpy() + DAYS_2_US)
    return bars.set_column(at, bars.schema.field(at), late.cast(bars.schema.field(at).type))


BARS = pa.concat_tables(
    [imported(walk(SHORT, gaps=0)), walk(1_100, ticker="X:ETHUSD", seed=2, gaps=0.1)]
)
"""Of the longer series some rows have every feature: the longest lookback is 767 bars."""


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[ReleasedHouse]:
    with released(migrated_dsn, tmp_path / "warehouse", BARS) as house:
        yield house


def test_a_row_has_its_own_bar_s_features_and_the_return_that_follows(house: ReleasedHouse) -> None:
    found = house.training_rows(Ask(horizon=HORIZON, tickers=("X:ETHUSD",)))
    bars = BARS.slice(SHORT)
    close = bars["close"].cast(pa.float64()).to_numpy()
    wanted = close[HORIZON:] / close[:-HORIZON] - 1.0
    assert found.num_rows == len(wanted)
    assert np.array_equal(found["label_value"].to_numpy(), wanted)
    made = features_of(bars, MARKET).slice(0, len(wanted))
    assert found["event_time"].to_pylist() == made["event_time"].to_pylist()
    for name in MARKET.names:
        assert found[name].to_pylist() == made[name].to_pylist(), name
    assert rows_of(found, MARKET.names).features.shape == (1_100 - 766 - HORIZON, len(MARKET.names))


def test_what_comes_after_the_release_changes_no_row_of_it(house: ReleasedHouse) -> None:
    ask = Ask(horizon=HORIZON, label="barrier")
    before = house.training_rows(ask)
    late = BARS.slice(300, 1)
    row = late.to_pylist()[0]
    new = pa.Table.from_pylist([{**row, "close": row["high"]}], BARS.schema)
    house.publish(new, late)
    house.make(after=timedelta(days=1))
    assert house.training_rows(ask).equals(before)
    assert new["close"] != late["close"]
    versions = house.rows(
        "FROM features_market WHERE ticker = 'X:BTCUSD' QUALIFY"
        " count(*) OVER (PARTITION BY event_time, available_time) > 1"
    )
    assert versions.num_rows > 0  # history that is corrected is known from the same time on
    house.release("second")
    found = house.training_rows(ask, "second").filter(pc.field("ticker") == "X:BTCUSD")
    bars = pa.concat_tables([BARS.slice(0, 300), new, BARS.slice(301, SHORT - 301)])
    made = features_of(bars, MARKET)
    made = made.filter(pc.is_in(made["event_time"], found["event_time"].combine_chunks()))
    for name in ("event_time", "return_1", "rsi_14"):
        assert found[name].to_pylist() == made[name].to_pylist()


def test_what_is_not_there_is_one_sentence(house: ReleasedHouse) -> None:
    with pytest.raises(BadInput, match="has no rows with a label"):
        house.training_rows(Ask(tickers=("X:NONE",)))
    with pytest.raises(WrongUse, match="interval 7m: has no features: one of 1m"):
        Ask(interval="7m")
    with pytest.raises(BadInput, match="has no zone"):
        Ask(since="2024-01-01T00:00:00")
    assert ask_of(json.loads(json.dumps(Ask().config()))).config() == Ask().config()


def test_the_verb_trains_on_a_release_and_its_receipt_trains_it_again(
    house: ReleasedHouse,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    give_registry: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path
    give_registry(home)
    state.write_state(home, {"postgres": {"dsn": house.dsn}})
    monkeypatch.chdir(home)
    words = ("--release", "first", "--horizon", "5", "--rounds", "20", "--folds", "2", "--json")
    said = ("--predictions", "tests.parquet", "--home", str(home))
    assert run(["train", "direction", *words, *said]) == 0
    made = json.loads(capsys.readouterr().out)
    span = ("--from", "2024-01-01", "--to", "2024-01-03", "--ticker", "X:ETHUSD")
    tried = ["backtest", "model-signal", "--release", "first", *span, *said, "--json"]
    assert run(tried) != 0
    assert "release first: has bars of 1m of 2024-01-01" in capsys.readouterr().err
    assert run([*tried, "--partly"]) == 0
    tested = json.loads(capsys.readouterr().out)
    assert tested["partly"] == ["bars X:ETHUSD"]
    inputs = read(Path(tested["receipt"])).inputs
    assert (inputs.models, inputs.features) == ({"direction": "1"}, {"market": "1"})
    assert inputs.config["predictions"] == str(home.resolve() / "tests.parquet")
    trained = read(Path(made["receipt"])).inputs
    assert trained.spans == {"training_rows": made["span"]}
    assert run(["verify", tested["receipt"], "--home", str(home)]) == 0
    assert run(["verify", made["receipt"], "--home", str(home)]) == 0
    shown = capsys.readouterr().out
    assert "model-signal on release first: the same result" in shown
    assert "model direction on release first: the same result" in shown
