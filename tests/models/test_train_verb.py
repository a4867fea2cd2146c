"""`ticklake train` and `models`: what a user sees, by exit code, lines and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from infra.command.main import run
from lake import state
from lake.clock import ManualClock
from lake.receipts.receipt import read
from lake.releases.release import create
from tests.bars.trading import NOON
from tests.models.trading_rows import FEATURES, changed, training_rows
from tests.quality.house import House, trade

SHORT = ("--release", "first", "--rounds", "20", "--folds", "2")


@pytest.fixture
def home(
    migrated_dsn: str, tmp_path: Path, give_registry: Callable[[Path], None]
) -> Iterator[Path]:
    """Return a home with a release `first` and two training sets, one worth more than the other."""
    home = tmp_path / "home"
    give_registry(home)
    state.write_state(home, {"postgres": {"dsn": migrated_dsn}})
    house = House(migrated_dsn, home / "warehouse")
    house.start_shard(0)
    house.take([trade(NOON)])
    house.commit()
    create(migrated_dsn, house.place, "first", ManualClock())
    pq.write_table(training_rows(1_200, strength=0.5), home / "some.parquet")
    pq.write_table(training_rows(1_200, strength=2.0), home / "more.parquet")
    yield home
    house.close()


def say(home: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = run([*words, "--home", str(home)])
    shown = capsys.readouterr()
    return code, shown.out or shown.err


def test_a_model_is_trained_promoted_and_followed_by_a_better_one(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = ("train", "direction", "--rows", str(home / "some.parquet"), *SHORT)
    code, out = say(home, capsys, *some, "--json")
    assert code == 0
    made = json.loads(out)
    receipt = read(Path(made["receipt"]))
    assert receipt.result == {"model": made["hash"]}
    assert receipt.inputs.config["features"] == list(FEATURES)
    code, out = say(home, capsys, "verify", made["receipt"])
    assert code == 0
    assert "model direction on release first: the same result" in out
    code, out = say(home, capsys, "models", "promote", "direction")
    assert code == 0
    assert "direction version 1 is champion now; champion before: none" in out
    code, out = say(home, capsys, *some)
    assert code == 0
    code, out = say(home, capsys, "models", "promote", "direction")
    assert code == 1  # the same model again is no better
    assert "NOT met: log loss" in out
    more = ("train", "direction", "--rows", str(home / "more.parquet"), *SHORT)
    assert say(home, capsys, *more)[0] == 0
    code, out = say(home, capsys, "models", "promote", "direction", "--json")
    assert code == 0
    assert json.loads(out)["before"] == 1
    code, out = say(home, capsys, "models", "list", "direction", "--json")
    versions = json.loads(out)["versions"]
    assert [each["roles"] for each in versions] == [["shadow"], [], ["champion", "challenger"]]
    assert versions[0]["model_hash"] == versions[1]["model_hash"] != versions[2]["model_hash"]
    assert say(home, capsys, "models", "promote", "direction")[0] == 2  # it is champion already
    (home / "more.parquet").replace(home / "some.parquet")
    code, out = say(home, capsys, "verify", made["receipt"])
    assert code == 1
    assert "differs: data training_rows" in out


def test_a_search_is_said_in_metrics_and_verified(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = ("train", "direction", "--rows", str(home / "some.parquet"), *SHORT, "--search", "2")
    code, out = say(home, capsys, *some, "--json")
    assert code == 0
    made = json.loads(out)
    assert made["metrics"]["trials"] == 2
    assert read(Path(made["receipt"])).inputs.config["trials"] == 2
    code, out = say(home, capsys, "verify", made["receipt"])
    assert code == 0
    assert "the same result" in out


def test_what_can_t_be_trained_is_one_sentence(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = str(home / "some.parquet")
    code, out = say(home, capsys, "train", "m", "--rows", rows, "--release", "none")
    assert (code, out.count("\n")) == (2, 1)
    assert "no such release" in out
    code, out = say(home, capsys, "train", "m", "--rows", rows, *SHORT, "--features", "macd")
    assert (code, out.count("\n")) == (1, 1)
    assert "have no macd" in out
    code, out = say(home, capsys, "train", "m", "--rows", str(home / "x.parquet"), *SHORT)
    assert (code, out.count("\n")) == (1, 1)
    peek = changed(training_rows(500), "noise_a", training_rows(500)["label_value"])
    pq.write_table(peek, home / "peek.parquet")
    code, out = say(home, capsys, "train", "m", "--rows", str(home / "peek.parquet"), *SHORT)
    assert code == 1
    assert "as only the future does: noise_a" in out
    assert say(home, capsys, "models", "list")[1] == "no model\n"
