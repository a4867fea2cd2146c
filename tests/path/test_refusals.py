"""What can't be done is said in one sentence, thing: fault: remedy, and costs nothing durable."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.servers.ports import choose
from tests.path.market import (
    NEVER_S,
    Ended,
    Home,
    Market,
    assert_each_once,
    interrupted,
    missing,
    transit_us,
    within,
)

NOT_HELD, WRONG_USE = 1, 2


@pytest.fixture
def home(migrated_dsn: str, tmp_path: Path) -> Iterator[Home]:
    home = Home(migrated_dsn, tmp_path / "home")
    yield home
    home.close()


def assert_refused(done: Ended, code: int, *parts: str) -> None:
    """Assert one sentence that holds these parts, in their order."""
    assert done.code == code, done.err
    assert done.sentence.startswith("ticklake: ")
    assert done.sentence.count(": ") >= 3
    assert "Traceback" not in done.err
    at = 0
    for part in parts:
        assert part in done.sentence[at:], done.sentence
        at = done.sentence.index(part, at) + len(part)


def test_an_unknown_feed(home: Home) -> None:
    done = home.ingest("bitmex")
    assert_refused(done, WRONG_USE, "feed bitmex", "is unknown", "massive, coinbase, kraken")


def test_a_feed_that_is_named_twice(home: Home) -> None:
    done = home.ingest("sim", "sim", "--for", "1s")
    assert_refused(done, WRONG_USE, "feed sim", "is named twice", "--connections 2")


@pytest.mark.parametrize("feeds", [("coinbase", "kraken"), ("replay:x.gz",)])
def test_a_socket_for_other_than_one_live_feed(home: Home, feeds: tuple[str, ...]) -> None:
    done = home.ingest(*feeds, "--url", "ws://127.0.0.1:1", "--for", "1s")
    assert_refused(done, WRONG_USE, "--url", "is the socket of one live feed", "an ingest for each")


def test_a_ticker_that_is_none(home: Home) -> None:
    done = home.ingest("sim", "--url", "ws://127.0.0.1:1/crypto", "--tickers", "DROP TABLE")
    assert_refused(done, WRONG_USE, "ticker 'DROP TABLE'", "is not spelled like one", "X:BTCUSD")


@pytest.mark.parametrize("url", ["http://127.0.0.1/crypto", "ws://", "ws://127.0.0.1:99999/x"])
def test_an_address_that_is_none(home: Home, url: str) -> None:
    assert_refused(home.ingest("sim", "--url", url), WRONG_USE, url, "is no WebSocket address")


def test_a_home_without_a_simulated_exchange(home: Home) -> None:
    assert_refused(home.ingest("sim"), WRONG_USE, "feed sim", "no simulated exchange", "start")


def test_a_home_without_servers(tmp_path: Path) -> None:
    bare = Home("", tmp_path / "bare")
    (bare.path / "run" / "state.json").unlink()
    done = bare.ingest("sim", "--url", "ws://127.0.0.1:1/crypto")
    assert_refused(done, NOT_HELD, "postgres of", "not started", "ticklake up")


def test_servers_that_are_down(tmp_path: Path) -> None:
    gone = Home(f"postgresql://ticklake@127.0.0.1:{choose(None)}/ticklake", tmp_path / "gone")
    done = gone.ingest("sim", "--url", "ws://127.0.0.1:1/crypto")
    assert_refused(done, NOT_HELD, "hot tier", "ticklake up")


def recording_of_two(tmp_path: Path) -> Path:
    """Return a recording of two pairs, a frame each."""
    path = tmp_path / "spot_two"
    path.write_text("".join(
        f'16131612000000{at:02} {{"stream":"{symbol.lower()}@trade","data":{{"e":"trade",'
        f'"s":"{symbol}","t":{at},"p":"1.5","q":"2","T":1613161200000,"m":true,"M":true}}}}\n'
        for at, symbol in enumerate(("BTCUSDT", "ETHUSDT"), 1)
    ))  # fmt: skip
    return path


def test_a_recording_without_the_ticker(home: Home, tmp_path: Path) -> None:
    path = recording_of_two(tmp_path)
    done = home.ingest(f"replay:{path}", "--tickers", "SOL-USDT")
    assert_refused(done, WRONG_USE, str(path), "holds none of SOL-USDT", "X:BTCUSDT, X:ETHUSDT")


def test_a_recording_s_other_tickers_are_left_out(home: Home, tmp_path: Path) -> None:
    done = home.ingest(f"replay:{recording_of_two(tmp_path)}", "--tickers", "ETH-USDT")
    assert done.code == 0, done.err
    assert home.rows("SELECT ticker FROM crypto_trades")["ticker"].to_list() == ["X:ETHUSDT"]


def test_a_file_that_is_missing(home: Home, tmp_path: Path) -> None:
    done = home.ingest(f"replay:{tmp_path}/nothing.gz")
    assert_refused(done, NOT_HELD, "nothing.gz", "is no file", "name a recording")


def test_a_file_that_is_no_recording(home: Home, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear all,\nthis is no market data.\n")
    done = home.ingest(f"replay:{tmp_path}/letter.txt")
    assert_refused(done, NOT_HELD, "letter.txt", "is no recording that is known")


def test_a_recording_that_is_named_as_what_it_is_not(
    home: Home, tmp_path: Path, data_dir: Path
) -> None:
    wrong = tmp_path / "spot_btcusdt_20230405.dat.gz"
    wrong.write_bytes((data_dir / "binance_frames/usdm_btcusdt_20230405.dat.gz").read_bytes())
    done = home.ingest(f"replay:{wrong}")
    assert_refused(done, NOT_HELD, str(wrong), "named as spot", "holds frames of usdm")


def test_a_truncated_recording_is_stored_up_to_where_it_breaks(
    home: Home, tmp_path: Path, data_dir: Path
) -> None:
    whole = (data_dir / "binance_frames" / "usdm_ethusdt_20240808.gz").read_bytes()
    broken = tmp_path / "usdm_ethusdt_20240808.gz"
    broken.write_bytes(whole[: len(whole) // 3])
    done = home.ingest(f"replay:{broken}", "--speed", "max")
    assert_refused(done, NOT_HELD, str(broken), "breaks off", "everything before it is ingested")
    place = int(done.sentence.split(" line ")[1].split(":")[0])
    raw = gzip.decompress(whole).splitlines()[: place - 1]
    trades = sum(b'"e":"trade"' in line for line in raw)
    assert trades > 100
    for view in ("", "lake."):
        assert home.rows(f"SELECT count(*) FROM {view}crypto_trades").item() == trades
    home.assert_verified()


def test_a_wrong_key(home: Home, tmp_path: Path) -> None:
    with Market(tmp_path, key="right") as market:
        done = home.ingest("sim", "--url", market.url)
    assert_refused(done, NOT_HELD, market.url, "authentication failed", "MASSIVE_API_KEY")


def test_a_ticker_that_the_venue_does_not_have(home: Home, tmp_path: Path) -> None:
    with Market(tmp_path, rate=1_000) as market:
        done = home.ingest("sim", "--url", market.url, "--tickers", "BTC-USD,DOGE-EUR")
    assert_refused(done, NOT_HELD, market.url, "unknown pair", "XT.DOGE-EUR", "check --tickers")


def test_an_address_where_nobody_is(home: Home) -> None:
    url = f"ws://127.0.0.1:{choose(None)}/crypto"
    done = home.ingest("sim", "--url", url)
    assert_refused(done, NOT_HELD, url, "not reached in 5 tries", "is it up?")


def test_an_address_that_is_somebody_else_s(home: Home, tmp_path: Path) -> None:
    with Market(tmp_path) as market:
        url = market.url.replace("/crypto", "/stocks")
        assert_refused(home.ingest("sim", "--url", url), NOT_HELD, url, "404", "check address")


def test_a_home_that_is_not_writable(home: Home, tmp_path: Path) -> None:
    (home.path / "journal").write_text("a file where the folder should be")
    with Market(tmp_path) as market:
        done = home.ingest("sim", "--url", market.url)
    assert_refused(done, NOT_HELD, "journal/shard-0", "make it a folder we may write to")


def test_a_warehouse_that_is_not_writable(home: Home, tmp_path: Path) -> None:
    (home.path / "warehouse").write_text("a file where the folder should be")
    with Market(tmp_path) as market:
        done = home.ingest("sim", "--url", market.url, "--for", NEVER_S)
    assert_refused(done, NOT_HELD, "warehouse", "make it a folder we may write to")


@pytest.mark.parametrize("faults", ["journal.write=ENOSPC@20", "journal.fsync=ENOSPC@20"])
def test_a_full_disk_stops_intake_and_loses_nothing_acknowledged(
    home: Home, tmp_path: Path, faults: str
) -> None:
    with Market(tmp_path, rate=1_000) as market:
        done = home.ingest("sim", "--url", market.url, "--for", NEVER_S, faults=faults)
        assert_refused(done, NOT_HELD, "journal/shard-0", "no room", "free space")
        assert missing_while_heard_is_none(home, market)
        assert home.ingest_until_refilled(market.url).code == 0
    stored = home.stored()
    assert_each_once(stored)
    gone = missing(market.sent, stored)
    assert gone.filter("trade").is_empty()
    assert within(gone, home.gaps(), transit_us(market.sent, stored)).all()
    home.assert_verified()


def missing_while_heard_is_none(home: Home, market: Market) -> bool:
    """Tell whether hot and lake hold what was acknowledged before the disk was full."""
    return home.stored("lake.").equals(home.stored("hot.")) and len(home.stored()) > 100


def test_the_journal_s_budget_is_a_full_disk(home: Home, tmp_path: Path) -> None:
    home.settings["TICKLAKE_JOURNAL_BYTES_MAX"] = str(1 << 20)
    with Market(tmp_path, rate=20_000) as market:
        done = home.ingest("sim", "--url", market.url, "--for", NEVER_S)
    assert_refused(done, NOT_HELD, "journal/shard-0", "budget of 1048576 bytes", "JOURNAL_BYTES")
    home.assert_verified()


def test_two_processes_take_different_tickers_and_refuse_the_same(
    home: Home, tmp_path: Path
) -> None:
    with Market(tmp_path, rate=1_000) as market:
        both = [
            home.start("ingest", "sim", "--url", market.url, "--tickers", ticker)
            for ticker in ("BTC-USD", "ETH-USD")
        ]
        assert home.shows("SELECT count(DISTINCT shard) = 2 FROM crypto_trades")
        for tickers in (("--tickers", "ETH-USD"), ()):
            done = home.ingest("sim", "--url", market.url, *tickers)
            assert_refused(done, NOT_HELD, "(process ", "ingests sim X:", "stop it first")
        assert [interrupted(each).code for each in both] == [0, 0]
    stored = home.stored()
    assert_each_once(stored)
    for ticker in ("X:BTCUSD", "X:ETHUSD"):
        own, sent = (each.filter(ticker=ticker) for each in (stored, market.sent))
        assert own["shard"].n_unique() == 1
        assert missing(sent.drop("place").with_row_index("place"), own).is_empty()
    home.assert_verified()
