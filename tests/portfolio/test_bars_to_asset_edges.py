"""Issue 6, part 11: the network of a lake's bars is a table, drawn once a window."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from flows.bars_to_asset_edges import DATASET, draw
from lake.errors import WrongUse
from lake.views.client import Client
from tests.bars.test_trades_to_bars import House
from tests.bars.trading import NOON, published_bar

MINUTES = 120
TICKERS = ("X:AUSD", "X:BUSD", "X:CUSD")
WINDOWS = (("1m", MINUTES),)


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[House]:
    """A and B move together, C by itself."""
    house = House(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    chance = np.random.default_rng(5)
    market, own = chance.normal(0, 0.01, MINUTES), chance.normal(0, 0.002, (2, MINUTES))
    steps = (market + own[0], market + own[1], chance.normal(0, 0.01, MINUTES))
    rows = [
        bar(1 + 3 * n + t, n, ticker, 100 * float(np.exp(np.cumsum(steps[t])[n])))
        for n in range(MINUTES)
        for t, ticker in enumerate(TICKERS)
    ]
    house.take(rows, "crypto_aggregates")
    house.commit()
    house.make()
    yield house
    house.close()


def bar(frame: int, minute: int, ticker: str, price: float) -> dict[str, object]:
    value = Decimal(f"{price:.4f}")
    prices = dict.fromkeys(("open", "high", "low", "close", "vwap"), value)
    at = NOON + timedelta(minutes=minute)
    return published_bar(frame, at, ticker=ticker, **prices)


def test_edges_and_clusters_are_a_table_in_hot_and_lake(house: House) -> None:
    (drawn,) = draw(house.dsn, house.place, WINDOWS)
    assert drawn.line() == ("sim spot, 120 bars of 1m to 2024-08-08 14:00 UTC: 3 edges, 2 clusters")
    for view in (DATASET, f"lake.{DATASET}"):
        with Client(house.dsn, house.place) as client:
            rows = client.arrow(f"FROM {view} ORDER BY row_no").to_pylist()
        assert [(row["ticker"], row["other"]) for row in rows] == [
            ("X:AUSD", "X:BUSD"),
            ("X:AUSD", "X:CUSD"),
            ("X:BUSD", "X:CUSD"),
        ]
        assert [(row["cluster"], row["other_cluster"]) for row in rows] == [(1, 1), (1, 2), (1, 2)]
        assert rows[0]["correlation"] > Decimal("0.9") > abs(rows[1]["correlation"])
        assert {row["bars"] for row in rows} == {MINUTES - 1}


def test_a_window_is_drawn_once(house: House) -> None:
    assert len(draw(house.dsn, house.place, WINDOWS)) == 1
    assert draw(house.dsn, house.place, WINDOWS) == []
    with pytest.raises(WrongUse, match="interval 2m: is none"):
        draw(house.dsn, house.place, (("2m", 5),))
