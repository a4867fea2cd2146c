"""Every recorded file goes through the whole path, and what it holds is in the lake once."""

from __future__ import annotations

import csv
import gzip
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from lake.verify.verify import verify
from tests.conftest import Databases
from tests.path.market import Home
from tests.path.test_recordings import FIELDS, MINUTE_BARS

TRADE = re.compile(rb'"e":"trade".*?"s":"([A-Z_]+)".*?"t":(\d+)')
QUOTE = re.compile(rb'"u":(\d+),(?:"e":"bookTicker",)?"s":"([A-Z_]+)"(?:,"ps":"[A-Z]+")?,"b":')
MATCH = re.compile(rb'"type":"(?:last_)?match","trade_id":(\d+)')
MARKETS = {"spot": "spot", "usdm": "usdm", "cm": "coinm", "BINANCE.ws.1.0.gz": "spot"}
CAPTURES = ("BINANCE.ws.1.0", "COINBASE.ws.28.0", "KRAKEN.ws.48.0", "KRAKEN.ws.49.0",
            "KRAKEN.ws.50.0")  # fmt: skip


def text_of(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


@pytest.fixture(scope="module")
def files(data_dir: Path) -> list[Path]:
    """Return all recordings of sockets."""
    captures = [data_dir / "venue_captures" / f"{name}.gz" for name in CAPTURES]
    return [*sorted((data_dir / "binance_frames").glob("*.gz")), *captures]


@pytest.fixture(scope="module")
def home(
    databases: Databases,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
    files: list[Path],
) -> Iterator[Home]:
    """Yield a home that took them all in, in one ingest."""
    name = databases.create(migrated_template)
    home = Home(databases.dsn(name), tmp_path_factory.mktemp("every-recording"))
    done = home.ingest(*(f"replay:{path}" for path in files), "--speed", "max")
    assert done.code == 0, done.err
    yield home
    home.close()
    databases.drop(name)


def test_every_binance_trade_is_in_the_lake_once(home: Home, files: list[Path]) -> None:
    wanted: dict[tuple[str, str], set[int]] = {}
    for path in files:
        market = MARKETS.get(path.name.partition("_")[0])
        for symbol, number in TRADE.findall(text_of(path)) if market else ():
            wanted.setdefault((market or "", f"X:{symbol.decode()}"), set()).add(int(number))
    assert len(wanted) == 6
    found = home.rows(
        "SELECT market, ticker, list(trade_id::bigint ORDER BY trade_id::bigint) AS ids"
        " FROM lake.crypto_trades WHERE exchange = 'binance' GROUP BY ALL"
    )
    assert {(m, t): ids for m, t, ids in found.rows()} == {
        place: sorted(ids) for place, ids in wanted.items()
    }


def test_trade_ids_are_contiguous_from_file_to_file_but_for_the_year_between(home: Home) -> None:
    found = home.rows(
        "SELECT market, ticker, epoch_ms(min(event_time)) > 1700000000000 AS later,"
        " count(*) = max(trade_id::bigint) - min(trade_id::bigint) + 1 AS whole"
        " FROM lake.crypto_trades WHERE exchange = 'binance'"
        " GROUP BY market, ticker, event_time > '2024-01-01' ORDER BY ALL"
    )
    assert found.height == 8
    assert found["whole"].all()


def test_every_binance_quote_is_in_the_lake_once(home: Home, files: list[Path]) -> None:
    wanted: Counter[tuple[str, str]] = Counter()
    for path in files:
        market = MARKETS.get(path.name.partition("_")[0])
        if market:
            updates = {(symbol, number) for number, symbol in QUOTE.findall(text_of(path))}
            wanted.update((market, f"X:{symbol.decode()}") for symbol, _ in updates)
    found = home.rows(
        "SELECT market, ticker, count(*) AS quotes FROM lake.crypto_quotes"
        " WHERE exchange = 'binance' GROUP BY ALL"
    )
    assert {(m, t): count for m, t, count in found.rows()} == dict(wanted)


def test_coinbase_matches_and_kraken_trades_are_in_the_lake_once(
    home: Home, files: list[Path]
) -> None:
    texts = {path.name.partition(".gz")[0]: text_of(path) for path in files}
    matches = {int(found) for found in MATCH.findall(texts["COINBASE.ws.28.0"])}
    found = home.rows(
        "SELECT trade_id::bigint AS id FROM lake.crypto_trades WHERE exchange = 'coinbase'"
    )
    assert sorted(found["id"]) == sorted(matches)
    trades = [line for line in texts["KRAKEN.ws.48.0"].splitlines() if b',"trade","' in line]
    count = sum(len(re.findall(rb'\["[\d.]+","[\d.]+"', line)) for line in trades)
    found = home.rows("SELECT count(*) FROM lake.crypto_trades WHERE exchange = 'kraken'")
    assert found.item() == count > 0


def test_what_is_no_tick_is_counted_and_nothing_is_refused(home: Home) -> None:
    classes = home.rows(
        "SELECT sum(events)::bigint AS events,"
        " sum(stored + quarantined + duplicate + ignored)::bigint AS classed,"
        " sum(quarantined)::bigint AS quarantined FROM ingest_batches"
    ).to_dicts()[0]
    assert classes["events"] == classes["classed"]
    assert classes["quarantined"] == 0
    assert verify(home.path).holds


def test_minute_bars_of_2024_are_the_published_klines(home: Home, data_dir: Path) -> None:
    path = data_dir / "klines" / "binance_um_BTCUSDT_1m_klines_2024-08-08.csv"
    wanted = [
        {name: Decimal(row[name]) for name in FIELDS}
        for row in list(csv.DictReader(path.read_text().splitlines()))[1:-1]
    ]
    span = {"first": int(wanted[0]["open_time"]), "last": int(wanted[-1]["open_time"])}
    found = home.rows(MINUTE_BARS.format(view="lake.", **span))
    assert [{name: Decimal(row[name]) for name in FIELDS} for row in found.to_dicts()] == wanted
