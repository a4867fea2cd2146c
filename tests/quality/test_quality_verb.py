"""`ticklake quality`: what a user sees, by exit code, lines and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.command.main import run
from lake import state
from tests.bars.trading import NOON
from tests.quality.house import House, quote, trade


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[House]:
    home = tmp_path / "home"
    state.write_state(home, {"postgres": {"dsn": migrated_dsn}})
    house = House(migrated_dsn, home / "warehouse")
    house.start_shard(0)
    yield house
    house.close()


def say(house: House, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    assert isinstance(house.warehouse, Path)
    code = run(["quality", *words, "--home", str(house.warehouse.parent)])
    return code, capsys.readouterr().out


def test_rows_at_fault_are_run_listed_and_shown(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.take([quote(NOON, "101", "100")], "crypto_quotes")
    code, out = say(house, capsys, "run")
    assert code == 0  # crossed quotes are a warning: nothing is wrong with the row
    assert "warning  crypto_quotes.crossed: 1 of 1 rows" in out
    house.take([trade(NOON), trade(NOON + timedelta(seconds=1), size=Decimal(0))])
    code, out = say(house, capsys, "run", "--json")
    assert code == 1
    found: dict[str, Any] = json.loads(out)["runs"][0]
    assert (found["errors"], found["warnings"]) == (1, 0)
    number = str(found["run"])
    assert "run " + number in say(house, capsys, "list")[1]
    code, out = say(house, capsys, "show", number, "size_positive")
    assert code == 0
    for word in ("crypto_trades.size_positive: 1 of 2 rows", "ticker=X:BTCUSD", "do: look"):
        assert word in out
    again = ("run", "--from", "2024-08-08T12:00:01", "--to", "2024-08-08T12:01")
    assert say(house, capsys, *again)[0] == 1
    assert say(house, capsys, "run")[0] == 0  # nothing is new


def test_what_can_t_be_is_refused(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(house, capsys, "run", "--from", "2024-08-08")[0] == 2
    assert say(house, capsys, "show", "77")[0] == 2
    assert say(house, capsys, "train", "--interval", "1d")[0] == 2
    assert say(house, capsys, "train")[0] == 1  # no bars yet


def test_a_suite_is_printed(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = say(house, capsys, "suite", "crypto_trades")
    assert code == 0
    kinds = {each["type"] for each in json.loads(out)["expectations"]}
    assert kinds == {"expect_column_values_to_not_be_null", "expect_column_values_to_be_in_set"}
