"""A home with bars, quotes and trades of hours, released: what a backtest needs, in a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from feature_repo.trading.costs import Costs
from feature_repo.trading.money import ppm
from flows.backtest_plan import Plan
from flows.release_rows import ReleaseRows, rows_of
from lake.clock import SystemClock
from lake.releases.release import create
from lake.state import write_state
from lake.views.client import Client
from tests.bars.test_trades_to_bars import House
from tests.bars.trading import NOON, Row, published_bar, trades
from tests.conftest import Databases
from tests.trading.made import NOON_US, bar_rows
from tests.verify.lakehouse import DATASETS

MINUTES = 480
HOURS_US = 3_600_000_000
TICKS = ("crypto_aggregates", "crypto_quotes")
COSTS = Costs(taker=ppm("5"), half_spread=ppm("1"))


@dataclass
class Research(House):
    """A lakehouse in a home of its own."""

    @property
    def home(self) -> Path:
        """The folder that holds it."""
        assert isinstance(self.warehouse, Path)
        return self.warehouse.parent

    def fill(self, seed: int = 1, imported: datetime | None = None) -> None:
        """Take what `put` does, and make the folder a home."""
        self.put(seed, imported)
        write_state(self.home, {"postgres": {"dsn": self.dsn}})

    def put(self, seed: int = 1, imported: datetime | None = None) -> None:
        """Take bars, quotes and trades of eight hours, and make the lake's bars of them.

        imported: when all of it came, as history; None: as it happened.
        """
        self.start_shard(0)
        for dataset in TICKS:
            with self.table(dataset).transaction() as change:
                change.set_properties({"ticklake.through.0": "0"})
        bars = bar_rows(seed, MINUTES).to_pylist()
        published = [
            published_bar(n, bar["event_time"], **{k: bar[k] for k in ("open", "high", "low")},
                          close=bar["close"], volume=bar["volume"], vwap=bar["close"],
                          received_time=imported or bar["received_time"])
            for n, bar in enumerate(bars, 1)
        ]  # fmt: skip
        self.take(published, "crypto_aggregates")
        quotes = [quote(n, bar) for n, bar in enumerate(bars, MINUTES + 1)]
        for each in quotes if imported else ():
            each["received_time"] = imported
        self.take(quotes, "crypto_quotes")
        self.commit([*TICKS, *DATASETS])
        self.make()

    def release(self, name: str) -> None:
        """Make a release of what there is."""
        create(self.dsn, self.place, name, SystemClock())

    def more(self, n: int) -> None:
        """Take some trades of another day, and make bars of them."""
        start = NOON + timedelta(days=1 + n)
        self.take(trades(n, 2 * MINUTES + 1 + 10 * n, start=start, count=10))
        self.commit()
        self.make(start + timedelta(hours=9))

    def client(self, release: str) -> Client:
        """Return a reader of a release."""
        return Client(self.dsn, self.place, release=release)


@contextmanager
def research(databases: Databases, template: str, folder: Path) -> Iterator[Research]:
    """Open a home without anything in it, and end it; template: a migrated database."""
    name = databases.create(template)
    house = Research(databases.dsn(name), folder / "warehouse")
    try:
        yield house
    finally:
        house.close()
        databases.drop(name)


def quote(frame: int, bar: Row) -> Row:
    """Return a quote half a minute into a bar, around its close."""
    time = bar["event_time"] + timedelta(seconds=30)
    return {
        "ticker": "X:BTCUSD",
        "exchange": "sim",
        "market": "spot",
        "event_time": time,
        "received_time": time + timedelta(milliseconds=5),
        "event_time_source": "exchange",
        "bid_price": bar["close"] - Decimal("0.5"),
        "bid_size": Decimal(2),
        "ask_price": bar["close"] + Decimal("0.5"),
        "ask_size": Decimal(2),
        "shard": 0,
        "seq": frame << 16,
    }


def plan(strategy: str = "moving-average-cross", **more: object) -> Plan:
    """Return a plan over the eight hours."""
    chosen: dict[str, object] = {
        "strategy": strategy,
        "release": "first",
        "tickers": ("X:BTCUSD",),
        "first_us": NOON_US,
        "last_us": NOON_US + 8 * HOURS_US,
        "costs": COSTS,
        **more,
    }
    return Plan(**chosen)  # type: ignore[arg-type]


def rows(client: Client) -> ReleaseRows:
    """Return what a client reads, as a backtest asks for it."""
    return rows_of(client, {"bars": 1})
