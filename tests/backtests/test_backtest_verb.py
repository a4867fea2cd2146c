"""Issue 6, parts 6 and 7: `ticklake backtest`, and `ticklake verify` of its receipt."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from infra.command.main import run
from tests.backtests.research import Research

SPAN = ("--release", "first", "--ticker", "X:BTCUSD", "--from", "2024-08-08T12:00")


def asked(house: Research, *words: str) -> list[str]:
    return ["backtest", *words, *SPAN, "--to", "2024-08-08T20:00", "--home", str(house.home)]


def test_a_backtest_leaves_tables_a_sheet_and_a_receipt_that_verifies(
    house: Research, capsys: pytest.CaptureFixture[str]
) -> None:
    words = asked(house, "moving-average-cross", "--sweep", "fast=3:9:3", "--taker-bp", "5")
    assert run([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [each["fast"] for each in said["trials"]] == ["3", "6", "9"]
    assert 0 <= said["deflated_sharpe"] <= 1
    folder = Path(said["folder"])
    assert folder.parent == house.home / "backtests"
    fills = pq.read_table(folder / "fills.parquet")
    assert fills.num_rows == said["fills"] > 0
    assert said["result_hash"] in (folder / "sheet.html").read_text()
    assert run(["verify", said["receipt"], "--home", str(house.home)]) == 0
    told = capsys.readouterr().out
    assert "moving-average-cross on release first: the same result" in told
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == said


def test_a_receipt_whose_result_is_another_ends_with_1_and_says_where(
    house: Research, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*asked(house, "buy-and-hold"), "--json"]) == 0
    path = Path(json.loads(capsys.readouterr().out)["receipt"])
    document = json.loads(path.read_text())
    document["inputs"]["config"]["costs"]["taker"] = 100
    path.write_text(json.dumps(document))
    assert run(["verify", str(path), "--home", str(house.home)]) == 1
    told = capsys.readouterr().out
    assert "ANOTHER RESULT" in told
    assert "differs: result fills" in told


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["no-strategy"], "strategy no-strategy: there is none: one of buy-and-hold"),
        (["mean-reversion", "--param", "fast=2"], "parameter fast: is none of mean-reversion"),
        (["mean-reversion", "--param", "fast"], "write NAME=VALUE"),
        (["buy-and-hold", "--cash", "much"], "number 'much': is none"),
        (["buy-and-hold", "--interval", "7m"], "interval 7m: is none"),
        (["buy-and-hold", "--ticks", "--ticker", "X:NO"], "has no quotes of X:NO"),
    ],
)
def test_wrong_words_are_one_clear_sentence(
    house: Research, words: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(asked(house, *words)) in (1, 2)
    assert fault in capsys.readouterr().err


def test_what_a_backtest_needs_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["backtest", "buy-and-hold", "--from", "2024-01-01", "--to", "2024-01-02"]) == 2
    assert "--release is missing" in capsys.readouterr().err
