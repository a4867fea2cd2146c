"""Design 3.3, 3.8: history comes in by the one way there is, once; contradictions are said."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import orjson
import polars as pl
import psycopg
import pytest

from flows.files_to_journal import take_file
from flows.gaps_to_history import fill_gaps, unfilled
from flows.history_to_journal import Ask, Told, backfill
from flows.place import Place, placed
from flows.trades_to_bars import TradesToBars
from lake.clock import SystemClock, utc_from_us
from lake.errors import BadInput, Refused
from lake.history.page import Span
from lake.history.venues import VenueMarket
from lake.ingest import control
from lake.settings import Settings
from lake.verify.verify import verify
from tests.history.test_venue_histories import START_US, market
from tests.history.venue_api import Fault, Trade, VenueApi
from tests.path.lakehouse import Lakehouse
from tests.path.market import Home, Market, ended

SPAN = (START_US - 3_600_000_000, START_US + 7_200_000_000)
SPELLED = ("--from", "2024-08-08T06:00", "--to", "2024-08-08T09:00")
ASK = ("backfill", "--ticker", "BTC-USD", "--venue", "coinbase", *SPELLED)
BOOK = (
    "SELECT kind, filled, closed_time IS NOT NULL AS closed FROM feed_gaps ORDER BY gap_from, kind"
)


@pytest.fixture
def home(migrated_dsn: str, tmp_path: Path) -> Iterator[Home]:
    home = Home(migrated_dsn, tmp_path / "home")
    yield home
    home.close()


@pytest.fixture
def api() -> Iterator[VenueApi]:
    with VenueApi(market(2_500)) as running:
        yield running


def place_at(home: Home) -> Place:
    return placed(Settings(home=home.path), home.dsn)


def asked(home: Home, api: VenueApi, *, again: bool = False) -> Told:
    where = VenueMarket("coinbase", "spot", api.url)
    ask = Ask(where, Span("crypto_trades", "X:BTCUSD", "spot", *SPAN))
    return backfill(ask, place_at(home), SystemClock(), again=again)


def ids(home: Home, view: str = "") -> list[int]:
    found = home.rows(f"SELECT trade_id::bigint AS id FROM {view}crypto_trades ORDER BY 1")
    return found["id"].to_list()


def assert_all_in(home: Home, trades: list[Trade]) -> None:
    """Assert that what the venue traded is stored once everywhere, and that verify holds."""
    for view in ("", "lake.", "hot."):
        assert ids(home, view) == [each.number for each in trades], view
    report = verify(home.path)
    assert report.holds, [str(fault) for fault in report.faults]


def test_the_command_takes_a_span_in_once_and_its_bars_are_the_venue_s(
    home: Home, api: VenueApi
) -> None:
    done = ended(home.start(*ASK, "--url", api.url, "--json"))
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert answer["backfills"][0]["rows"] == 2_500
    assert answer["bars"] > 50
    assert_all_in(home, list(api.trades))
    bars = home.rows(
        "SELECT epoch(event_time)::bigint, low, high, open, close, volume FROM bars"
        " WHERE \"interval\" = '1m' ORDER BY 1"
    ).rows()
    published = api.bars(0, 1 << 62)
    assert [(row[0], *map(float, row[1:])) for row in bars] == [
        (bar[0], *map(float, bar[1:])) for bar in published
    ]
    requests = len(api.asked)
    assert asked(home, api).progress.rows == 2_500
    assert len(api.asked) == requests


def test_a_run_that_fails_keeps_what_it_has_and_the_next_goes_on(home: Home, api: VenueApi) -> None:
    whole: Callable[..., Fault] = api.answer
    pages: list[str] = []

    def failing(path: str, headers: object) -> Fault:
        is_page = "limit=1000" in path
        pages.extend([path] if is_page else [])
        return Fault(404) if is_page and len(pages) == 2 else whole(path, headers)

    api.answer = failing  # type: ignore[method-assign]
    with pytest.raises(Refused, match="404"):
        asked(home, api)
    held = ids(home)
    assert 0 < len(held) < 2_500
    told = asked(home, api)
    assert told.progress.rows < 2_500 + 10, "the second run began where the first had ended"
    assert_all_in(home, list(api.trades))


def test_what_contradicts_is_quarantined_with_both_versions(home: Home, api: VenueApi) -> None:
    asked(home, api)
    held = {each.number: each for each in api.trades}
    api.trades = [
        replace(each, price="1.25") if number % 1_000 == 0 else each
        for number, each in held.items()
    ]
    told = asked(home, api, again=True)
    assert told.progress.contradicting == 2
    assert "2 contradict what is held" in told.line()
    found = home.rows("SELECT feed, reason, detail, raw FROM quarantine").to_dicts()
    assert [(each["feed"], each["reason"]) for each in found] == [
        ("history", "contradicts_held")
    ] * 2
    for each in found:
        note = orjson.loads(each["raw"])
        trade = held[int(note["held"]["trade_id"])]
        assert note["answer"]["price"] == "1.25"
        assert float(note["held"]["price"]) == float(trade.price)
        assert "coinbase says" in each["detail"]
    assert_all_in(home, list(held.values()))


def test_history_goes_through_the_journal_of_whoever_owns_the_ticker(
    home: Home, tmp_path: Path
) -> None:
    """Massive's feed is the simulated exchange here, which speaks the same."""
    home.settings["TICKLAKE_MASSIVE_API_KEY"] = "only-for-tests"
    with Market(tmp_path, rate=200) as exchange, VenueApi(market(1_500)) as api:
        owner = home.start("ingest", "massive", "--url", exchange.url)
        assert home.shows("SELECT count(*) > 0 FROM crypto_trades")
        place = place_at(home)
        place = replace(place, settings=replace(place.settings, massive_api_key="only-for-tests"))
        where = VenueMarket("massive", "spot", api.url)
        ask = Ask(where, Span("crypto_trades", "X:BTCUSD", "spot", *SPAN))
        told = backfill(ask, place, SystemClock())
        assert told.progress.rows == 1_500
        assert owner.poll() is None
        owner.terminate()
        assert ended(owner).code == 0
    found = home.rows(
        "SELECT count(*) AS n, count(DISTINCT trade_id) AS ids FROM crypto_trades"
        " WHERE event_time < TIMESTAMPTZ '2024-08-09 00:00:00+00'"
    ).to_dicts()[0]
    assert found == {"n": 1_500, "ids": 1_500}
    assert home.rows("SELECT DISTINCT shard FROM crypto_trades")["shard"].to_list() == [0]
    assert not list((home.path / "inbox").rglob("*.parcel"))
    assert verify(home.path).holds


def frame_of(trade: Trade) -> bytes:
    """Return a trade as Coinbase's socket says it."""
    moment = datetime.fromtimestamp(trade.at_us // 1_000_000, UTC)
    return orjson.dumps(
        {
            "type": "match",
            "trade_id": trade.number,
            "side": "sell" if trade.side == "buy" else "buy",
            "size": trade.size,
            "price": trade.price,
            "product_id": "BTC-USD",
            "time": f"{moment:%Y-%m-%dT%H:%M:%S}.{trade.at_us % 1_000_000:06}Z",
        }
    )


def test_gaps_on_record_are_filled_and_the_book_says_so(home: Home, api: VenueApi) -> None:
    """A socket that lost 400 trades in a disconnect; the ids show the hole as well."""
    clock = SystemClock()
    now_us = clock.now_us()
    trades = [replace(t, at_us=t.at_us - START_US + now_us - 7_200_000_000) for t in market(1_200)]
    trades = [t for t in trades if t.at_us < now_us - 60_000_000]
    assert len(trades) > 1_000
    before, missed, after = trades[:500], trades[500:900], trades[900:]
    api.trades = trades
    lakehouse = Lakehouse(home.dsn, home.path, claims=("coinbase|X:BTCUSD",))
    journal = lakehouse.open_journal()

    def say(record: control.Control) -> int:
        return journal.append("coinbase", 0, [control.dump(record)], [now_us], control=True)

    def hear(heard: list[Trade]) -> None:
        journal.append(
            "coinbase", 0, [frame_of(each) for each in heard], [each.at_us for each in heard]
        )

    say(control.Started(trades[0].at_us))
    say(control.Up(0, trades[0].at_us))
    hear(before)
    gap = say(control.GapOpened(0, "disconnect", before[-1].at_us, before[-1].at_us))
    say(control.Up(0, after[0].at_us))
    hear(after)
    say(control.GapClosed(gap, after[0].at_us, after[0].at_us))
    journal.flush()
    journal.close()
    assert lakehouse.move() == 0
    assert len(ids(home)) == 800
    assert home.rows(BOOK).rows() == [("disconnect", None, True), ("id_hole", None, False)]
    [gaps] = fill_gaps(place_at(home), clock, urls={"coinbase": api.url})
    assert (len(gaps.filled), gaps.faults) == (2, {})
    assert len(missed) == 400
    assert_all_in(home, trades)
    assert home.rows(BOOK).rows() == [
        ("disconnect", "crypto_trades", True),
        ("id_hole", "crypto_trades", True),
    ]
    assert fill_gaps(place_at(home), clock, urls={"coinbase": api.url}) == []


def test_gaps_of_feeds_without_history_keep_no_others_waiting(home: Home) -> None:
    """Many old ones of the simulator, and more of one venue than one run looks at."""
    clock = SystemClock()
    start = utc_from_us(clock.now_us()) - timedelta(days=2)
    with psycopg.connect(home.dsn, autocommit=True) as connection:
        for first, feed, count in ((1, "sim", 600), (1_001, "kraken", 510), (2_001, "coinbase", 1)):
            connection.execute(
                "INSERT INTO market.feed_gaps (gap_id, feed, connection, kind, gap_from, gap_to,"
                " detected_time, closed_time, shard, seq)"
                " SELECT n, %s, 0, 'disconnect', at, at + interval '10 s', at, at, 0, n"
                " FROM generate_series(%s::int, %s) AS n,"
                " LATERAL (SELECT %s::timestamptz + n * interval '1 min' AS at)",
                (feed, first, first + count - 1, start),
            )
        found = {each.feed: each.rows for each in unfilled(connection, clock, {})}
    assert {feed: len(rows) for feed, rows in found.items()} == {"kraken": 500, "coinbase": 1}
    assert [row["gap_id"] for row in found["kraken"]] == list(range(1_011, 1_511))


def test_a_file_is_known_by_what_it_holds_and_what_it_was_said_to_be(
    home: Home, tmp_path: Path
) -> None:
    """Neither another file of the same name and size, nor the same of another ticker, is in."""
    place, clock = place_at(home), SystemClock()
    path = tmp_path / "trades.csv"
    head = "trade_id,price,size,event_time,side\n"
    path.write_text(head + "1,10,1,2024-08-08T10:00:00Z,buy\n")
    given = {"exchange": "coinbase", "market": "spot", "ticker": "X:BTCUSD"}
    for _ in range(2):
        assert take_file(path, given, place, clock).progress.rows == 1
    assert ids(home) == [1]
    other = {**given, "ticker": "X:ETHUSD"}
    assert take_file(path, other, place, clock).progress.rows == 1
    path.write_text(head + "2,10,1,2024-08-08T10:00:00Z,buy\n")
    assert take_file(path, given, place, clock).progress.rows == 1
    assert ids(home) == [1, 1, 2]
    assert verify(home.path).holds


def test_what_to_ask_for_is_said_once_and_rightly(home: Home) -> None:
    for words, sentence in (
        (["backfill"], "one of --ticker, --gaps, --file"),
        ([*ASK[:5], "--from", "2024-08-08", "--to", "2024-08-07"], "--from before --to"),
    ):
        done = ended(home.start(*words))
        assert done.code == 2, words
        assert sentence in done.sentence


def test_a_dump_in_bulk_is_the_recording_and_its_bars_are_the_published_klines(
    home: Home, tmp_path: Path, data_dir: Path
) -> None:
    """Binance's USD-M trades of 2024-08-08 as its dumps have them; the klines are its own."""
    trades = pl.read_parquet(data_dir / "binance_ticks" / "trades.parquet").filter(
        (pl.col("venue") == "binance_usdm") & (pl.col("symbol") == "BTCUSDT")
        & (pl.col("trade_ms") > 1_700_000_000_000) & (pl.col("X") == "MARKET")
    ).sort("trade_id")  # fmt: skip
    assert len(trades) > 5_000
    text = trades.select(
        pl.col("trade_id").alias("id"), "price", "qty", pl.col("qty").alias("quote_qty"),
        pl.col("trade_ms").alias("time"), pl.col("buyer_is_maker").alias("is_buyer_maker"),
    ).write_csv()  # fmt: skip
    text += "9,one,1,1,1723161257679,true\n"  # which can't be read, and costs no other row
    path = tmp_path / "um" / "BTCUSDT-trades-2024-08-08.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("BTCUSDT-trades-2024-08-08.csv", text)
    place = place_at(home)
    taken = take_file(path, {}, place, SystemClock())
    done = taken.progress
    assert (done.rows, done.refused, done.done) == (len(trades), 1, True)
    assert ids(home, "lake.") == trades["trade_id"].to_list()
    assert home.rows("SELECT reason FROM quarantine")["reason"].to_list() == ["unreadable_row"]
    assert take_file(path, {}, place, SystemClock()).progress == taken.progress
    added_up = tmp_path / "um" / "BTCUSDT-aggTrades-2024-08-08.csv"
    first = trades.row(0, named=True)
    number, price, at_ms = first["trade_id"], first["price"], first["trade_ms"]
    added_up.write_text(f"1,{price},2,{number},{number + 3},{at_ms},true\n")
    with pytest.raises(BadInput, match="held one by one already"):
        take_file(added_up, {}, place, SystemClock())
    with TradesToBars(home.dsn, place.warehouse) as bars:
        bars.drain()
    published = data_dir / "klines" / "binance_um_BTCUSDT_1m_klines_2024-08-08.csv"
    wanted = list(csv.DictReader(published.read_text().splitlines()))[1:-1]
    bounds = f"BETWEEN {wanted[0]['open_time']} AND {wanted[-1]['open_time']}"
    names = ("open", "high", "low", "close", "volume")
    found = home.rows(
        f"SELECT {', '.join(names)} FROM bars WHERE \"interval\" = '1m'"
        f" AND epoch_ms(event_time) {bounds} ORDER BY event_time"
    )
    assert [[Decimal(v) for v in row] for row in found.rows()] == [
        [Decimal(each[name]) for name in names] for each in wanted
    ]
    assert verify(home.path).holds
