"""The process that stays makes its bars again once PostgreSQL is back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import duckdb
import psycopg
import pytest

from flows.resident import RETRY_S
from flows.serve import stay
from flows.trades_to_bars import TradesToBars
from infra.servers import embedded
from lake.clock import ManualClock, SystemClock
from lake.errors import TicklakeError
from lake.state import postgres_dsn
from lake.views.client import Client
from lake.warehouse import warehouse_of
from tests.bars.test_trades_to_bars import House
from tests.bars.trading import EPOCH, NOON, expected, trades

EVENING = NOON + timedelta(hours=9)
BARS_S_MAX = 120


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path.resolve() / "home"
    embedded.up(home)
    yield home
    embedded.down(home)


def house_of(home: Path) -> House:
    return House(postgres_dsn(home), home / "warehouse")


def bars_come(home: Path, wanted: int) -> bool:
    """Wait until the lake shows so many bars."""
    with Client(postgres_dsn(home), warehouse_of(home)) as client:
        for _ in range(BARS_S_MAX * 2):
            if client.arrow("FROM bars").num_rows == wanted:
                return True
            SystemClock().sleep(0.5)
    return False


def test_bars_go_on_once_postgresql_is_back(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = trades(1, 1, count=60)
    house = house_of(home)
    house.start_shard(0)
    house.take(rows)
    house.close()
    embedded.down(home)
    stop = threading.Event()
    staying = threading.Thread(target=stay, args=(home, stop))
    staying.start()
    try:
        said = ""
        for _ in range(BARS_S_MAX):
            SystemClock().sleep(RETRY_S / 2)
            said += capfd.readouterr().err
            if said.count("bars: ") > 1:
                break
        assert said.count("bars: ") > 1  # it tried, was refused, and tried again
        assert "Traceback" not in said
        embedded.up(home)
        assert bars_come(home, len(expected(rows, EVENING + timedelta(days=2))))
    finally:
        stop.set()
        staying.join(BARS_S_MAX)
    assert not staying.is_alive()


def test_a_maker_whose_server_was_started_anew_fails_at_once_and_the_next_one_goes_on(
    home: Path,
) -> None:
    rows = trades(1, 1, count=60)
    house = house_of(home)
    house.start_shard(0)
    clock = ManualClock((EVENING - EPOCH) // timedelta(microseconds=1))

    def maker() -> TradesToBars:
        return TradesToBars(postgres_dsn(home), warehouse_of(home), clock=clock, grace_ms=0)

    with maker() as old:
        old.drain()
        house.close()
        embedded.down(home)
        embedded.up(home)
        house = house_of(home)
        house.frames[0] = 0
        house.take(rows)
        with suppress(TicklakeError, psycopg.Error, duckdb.Error):
            old.drain()  # its connections are of the server of before
    with maker() as new:
        new.drain()
    assert house.stored() == expected(rows, EVENING)
    house.close()
