"""ticklake features: what there is, in words and as a picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.command.main import run


def test_list_and_show_say_formula_source_and_lookback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["features", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    sets = {each["set"]: each for each in listed["sets"]}
    assert list(sets) == ["market", "microstructure", "sentiment", "cross_asset"]
    names = {each["name"] for each in sets["market"]["features"]}
    assert {"sma_20", "rsi_14", "macd_signal"} <= names
    assert run(["features", "show", "rsi_14_wilder"]) == 0
    shown = capsys.readouterr().out
    assert "513 bars" in shown
    assert "Wilder" in shown
    assert "cut off at 3.3e-17" in shown
    assert run(["features", "show", "beta_60"]) == 0
    assert "61 bars that the reference has too" in capsys.readouterr().out


def test_graph_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("graph.svg", "graph.png"):
        assert run(["features", "graph", "-o", str(tmp_path / name)]) == 0
        assert (tmp_path / name).stat().st_size > 1_000
    assert "macd_histogram           < macd, macd_signal" in capsys.readouterr().out
    assert "rsi_14" in (tmp_path / "graph.svg").read_text()
    other = str(tmp_path / "other.svg")
    assert run(["features", "graph", "--set", "microstructure", "-o", other]) == 0
    assert "crypto_quotes.last_spread" in Path(other).read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "rsi_15"], "feature rsi_15: not in set market"),
        (["list", "--set", "magic"], "feature set magic: there is no such set"),
        (["list", "--version", "9"], "version 9: there is no such set"),
        (["graph", "-o", "graph.pdf"], "is no picture"),
    ],
)
def test_what_is_not_there_is_said(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["features", *words]) == 2
    assert said in capsys.readouterr().err
