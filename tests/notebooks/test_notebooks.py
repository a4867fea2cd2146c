"""Issue 6, part 12: every notebook runs on a small home, first cell to last, and keeps no output.

The cells are run as a kernel would, one after another in one namespace; no kernel is needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from flows.every_feature_set import every_set
from tests.backtests.research import MINUTES, Research, research
from tests.bars.trading import published_bar
from tests.conftest import Databases
from tests.trading.made import NOON, bar_rows

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
PRICES = ("open", "high", "low", "close", "volume")
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))


@pytest.fixture(scope="module")
def house(
    databases: Databases,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
    give_registry: Callable[[Path], None],
) -> Iterator[Research]:
    """Two tickers, with quotes and features of one, released."""
    with research(databases, migrated_template, tmp_path_factory.mktemp("research")) as house:
        house.fill()
        ether = [
            published_bar(2 * MINUTES + n, NOON + timedelta(minutes=n), ticker="X:ETHUSD",
                          **{k: Decimal(bar[k]) for k in PRICES})
            for n, bar in enumerate(bar_rows(2, 100).to_pylist(), 1)
        ]  # fmt: skip
        house.take(ether, "crypto_aggregates")
        house.commit()
        house.make()
        every_set(house.dsn, house.place, names=("market",))
        house.release("first")
        give_registry(house.home)
        yield house


def cells(name: str, kind: str = "code") -> list[dict[str, Any]]:
    document = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return [cell for cell in document["cells"] if cell["cell_type"] == kind]


def test_there_are_notebooks() -> None:
    assert {name.partition("_")[0] for name in NOTEBOOKS} >= {"01", "02", "03", "04", "05"}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_outputs_are_stripped_and_every_notebook_says_what_it_is_for(name: str) -> None:
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells(name))
    assert cells(name, "markdown")[0]["source"][0].startswith("# ")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_cell_runs(
    name: str, house: Research, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKLAKE_HOME", str(house.home))
    monkeypatch.chdir(tmp_path)
    mpl.use("template")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for n, cell in enumerate(cells(name), 1):
        exec(compile("".join(cell["source"]), f"{name}, code cell {n}", "exec"), namespace)
    plt.close("all")
    if name.startswith("01"):
        assert "<svg" in (tmp_path / "sheet.html").read_text()
        assert len(list((house.home / "receipts").glob("backtest-*.json"))) == 1
