"""Issue 6, part 6: a backtest of a release over Trino is that over DuckDB, to the last unit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.release_rows import open_rows, rows_of
from flows.release_to_backtest import backtest
from infra.command.main import run
from lake.client import connect
from lake.clock import SystemClock
from lake.receipts.receipt import differences
from lake.releases.release import create
from lake.releases.trino_release import publish_release, withdraw_release
from lake.tables.catalog import ensure_table
from lake.trino_session import connect_trino
from lake.views.publish import publish
from lake.views.union_view import UNION_DATASETS
from tests.backtests.research import Research, plan
from tests.stack.emptied import emptied

NAME = "of.backtests"
CLOCK = SystemClock()


@pytest.fixture
def house(stack: Path) -> Iterator[Research]:
    house = Research(*emptied(stack))
    for dataset in UNION_DATASETS:
        ensure_table(house.catalog, dataset)
    publish(stack)
    house.put()
    parts = create(house.dsn, house.place, NAME, CLOCK)
    with connect_trino(stack) as session:
        publish_release(session, NAME, parts)
        yield house
        withdraw_release(session, NAME)
    house.sql("DELETE FROM market.releases")
    house.close()


@pytest.mark.parametrize(
    "more",
    [
        {"sweep": {"fast": ("3", "5"), "slow": ("12",)}},
        {"feed": "ticks", "params": {"fast": "3", "slow": "9"}},
    ],
    ids=["bars", "ticks"],
)
def test_both_engines_come_to_one_result(
    stack: Path, house: Research, more: dict[str, object]
) -> None:
    asked = plan(release=NAME, **more)
    with connect(dsn=house.dsn, warehouse=house.place, release=NAME) as client:
        here = backtest(rows_of(client, {}), asked)
    with open_rows(stack, NAME, "trino") as rows:
        assert rows.engine == "trino"
        there = backtest(rows, asked)
    assert here.chosen.outcome.fills.num_rows > 2
    assert here.data == there.data
    assert here.chosen.outcome.tables() == there.chosen.outcome.tables()
    assert differences(here.receipt(CLOCK), there.receipt(CLOCK)) == []


def test_the_verb_takes_the_engine_by_name(
    stack: Path, house: Research, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["backtest", "buy-and-hold", "--release", NAME, "--ticker", "X:BTCUSD"]
    span = ["--from", "2024-08-08T12:00", "--to", "2024-08-08T20:00", "--home", str(stack)]
    assert run([*words, *span, "--engine", "trino", "-o", str(tmp_path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["fills"] == 1
    assert said["partly"] == []
