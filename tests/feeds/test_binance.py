"""Binance: documented frames, and every recorded file against the same ticks as Parquet."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from lake.feeds.binance import BinanceCodec
from lake.feeds.binance_columns import BinanceColumns
from lake.feeds.codec import EVENT_BYTES_MAX, Codec, Decoded, frames_of
from lake.feeds.recording import instruments, open_recording
from lake.ingest.codecs import codecs

RECEIVED_US = 1_723_161_254_087_896
TRADE: dict[str, Any] = {
    "e": "trade",
    "E": 1723161255343,
    "s": "BTCUSDT",
    "t": 3735683259,
    "p": "61837.63000000",
    "q": "0.02000000",
    "T": 1723161255342,
    "m": True,
    "M": True,
}
QUOTE: dict[str, Any] = {
    "u": 50093239212,
    "s": "BTCUSDT",
    "b": "61837.63000000",
    "B": "3.78826000",
    "a": "61837.64000000",
    "A": "0.00000000",
}
AT = datetime(2024, 8, 8, 23, 54, 15, 342_000, UTC)


@pytest.fixture(params=[BinanceCodec, BinanceColumns])
def codec(request: pytest.FixtureRequest) -> Codec:
    """Return the reference decoder, then the columnar one."""
    found: Codec = request.param("spot")
    return found


def decode(codec: Codec, *events: Any) -> Decoded:
    raw = [json.dumps({"stream": "btcusdt@trade", "data": event}).encode() for event in events]
    raw = [frame.replace(b": ", b":").replace(b", ", b",") for frame in raw]
    return codec.decode(frames_of(raw, received_us=RECEIVED_US))


def test_trade_has_its_exchange_time_and_the_aggressor_s_side(codec: Codec) -> None:
    decoded = decode(codec, TRADE, TRADE | {"m": False, "T": 1723161255342001})
    first, second = decoded.tables["crypto_trades"].to_pylist()
    assert (first["ticker"], first["exchange"], first["market"]) == ("X:BTCUSDT", "binance", "spot")
    assert (first["trade_id"], first["side"], first["conditions"]) == ("3735683259", "sell", None)
    assert (first["price"], first["size"]) == (Decimal("61837.63"), Decimal("0.02"))
    assert first["event_time"] == AT
    assert (second["side"], second["event_time"]) == ("buy", AT.replace(microsecond=342_001))


def test_quote_without_a_time_has_its_receipt_s_and_says_so(codec: Codec) -> None:
    timed = QUOTE | {"e": "bookTicker", "T": 1723161255342}
    received, exchange = decode(codec, QUOTE, timed).tables["crypto_quotes"].to_pylist()
    assert received["event_time"] == received["received_time"]
    assert received["event_time_source"] == "received"
    assert received["venue_sequence"] == 50093239212
    assert (received["bid_price"], received["bid_size"]) == (
        Decimal("61837.63"),
        Decimal("3.78826"),
    )
    assert (exchange["event_time"], exchange["event_time_source"]) == (AT, "exchange")


def test_prints_outside_the_market_keep_their_origin(codec: Codec) -> None:
    decoded = decode(codec, TRADE | {"X": "INSURANCE_FUND"}, TRADE | {"X": "MARKET"})
    assert decoded.tables["crypto_trades"]["conditions"].to_pylist() == ["INSURANCE_FUND", None]


def test_books_replies_and_notices_are_ignored_by_kind(codec: Codec) -> None:
    decoded = decode(codec, {"e": "depthUpdate"}, {"e": "serverShutdown"}, {"lastUpdateId": 1})
    assert decoded.ignored == {"depthUpdate": 1, "serverShutdown": 1, "depthSnapshot": 1}


@pytest.mark.parametrize(
    ("event", "reason", "path"),
    [
        (TRADE | {"p": "0"}, "price_not_positive", "$.data.p"),
        (TRADE | {"q": "-1"}, "size_not_positive", "$.data.q"),
        (TRADE | {"p": "1e30"}, "precision", "$.data.p"),
        (TRADE | {"T": 1723161255}, "time_too_early", "$.data.T"),
        (TRADE | {"T": 1723161255342 + 60_000}, "time_in_future", "$.data.T"),
        (TRADE | {"m": None}, "bad_side", "$.data.m"),
        (TRADE | {"t": None}, "missing_field", "$.data.t"),
        (TRADE | {"s": "BTC'; --"}, "bad_ticker", "$.data.s"),
        (TRADE | {"X": "a\x00"}, "bad_conditions", "$.data.X"),
        (QUOTE | {"u": -1}, "bad_sequence", "$.data.u"),
        (QUOTE | {"a": None}, "missing_field", "$.data.a"),
        ({"e": "surprise"}, "unknown_event", "$.data.e"),
        (None, "not_an_object", "$.data"),
    ],
)
def test_bad_event_is_quarantined_and_its_neighbours_stored(
    codec: Codec, event: Any, reason: str, path: str
) -> None:
    decoded = decode(codec, TRADE, event, TRADE)
    [row] = decoded.quarantine.to_pylist()
    assert (row["reason"], row["place"]) == (reason, f"frame 2 event 0 {path}")
    assert decoded.tables["crypto_trades"]["seq"].to_pylist() == [1 << 16, 3 << 16]
    assert decoded.events == 3


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"note": "z" * EVENT_BYTES_MAX}, "too_large"),
        ({f"f{i}": i for i in range(10_000)}, "too_many_fields"),
    ],
)
def test_event_too_large_is_refused_and_its_neighbours_stored(
    codec: Codec, more: dict[str, Any], reason: str
) -> None:
    decoded = decode(codec, TRADE, TRADE | more, TRADE)
    assert decoded.quarantine["reason"].to_pylist() == [reason]
    assert decoded.tables["crypto_trades"]["seq"].to_pylist() == [1 << 16, 3 << 16]


@pytest.fixture(scope="module")
def recorded(data_dir: Path) -> dict[str, pl.DataFrame]:
    """Return the rows of every recorded file, with the file's name, by dataset."""
    found: dict[str, list[pl.DataFrame]] = {}
    for path in sorted((data_dir / "binance_frames").glob("*.gz")):
        recording = open_recording(path)
        tables: dict[str, list[pa.Table]] = {}
        for batch in recording.batches():
            frames = frames_of([raw for _, raw in batch], received_us=[at for at, _ in batch])
            decoded = codecs()[recording.feed].decode(frames)
            assert decoded.quarantine.num_rows == 0, path
            stored = sum(table.num_rows for table in decoded.tables.values())
            assert stored + sum(decoded.ignored.values()) == len(batch) == decoded.events
            for name, table in decoded.tables.items():
                tables.setdefault(name, []).append(table)
        for name, parts in tables.items():
            rows = pl.DataFrame(pa.concat_tables(parts)).with_columns(file=pl.lit(path.name))
            found.setdefault(name, []).append(rows)
    return {name: pl.concat(parts) for name, parts in found.items()}


VENUES = {"binance_spot": "spot", "binance_usdm": "usdm", "binance_cm": "coinm"}


def known(data_dir: Path, name: str) -> pl.DataFrame:
    """Return the same ticks as they were written to Parquet elsewhere."""
    ticks = pl.read_parquet(data_dir / "binance_ticks" / f"{name}.parquet")
    markets = pl.col("venue").replace_strict(VENUES)
    return ticks.with_columns(market=markets, ticker="X:" + pl.col("symbol"))


def test_every_recorded_trade_is_there_to_the_last_digit(
    recorded: dict[str, pl.DataFrame], data_dir: Path
) -> None:
    keys = ["market", "ticker", "trade_id"]
    truth = known(data_dir, "trades").select(
        "market",
        "ticker",
        pl.col("trade_id").cast(pl.String),
        event_time=pl.from_epoch("trade_ms", "ms").cast(pl.Datetime("us", "UTC")),
        price=pl.col("price").cast(pl.Decimal(28, 10)),
        size=pl.col("qty").cast(pl.Decimal(28, 10)),
        side=pl.when("buyer_is_maker").then(pl.lit("sell")).otherwise(pl.lit("buy")),
        conditions=pl.when(pl.col("X") != "MARKET").then("X"),
        received_time=(pl.col("recv_ns") // 1000).cast(pl.Datetime("us", "UTC")),
    )
    rows = recorded["crypto_trades"].select(truth.columns)
    assert len(rows) == 94_717
    assert rows.sort(keys).equals(truth.sort(keys))


def test_every_recorded_quote_is_there_to_the_last_digit(
    recorded: dict[str, pl.DataFrame], data_dir: Path
) -> None:
    keys = ["market", "ticker", "venue_sequence", "received_time"]
    received = (pl.col("recv_ns") // 1000).cast(pl.Datetime("us", "UTC"))
    exchange = pl.from_epoch("trade_ms", "ms").cast(pl.Datetime("us", "UTC"))
    truth = known(data_dir, "quotes").select(
        "market",
        "ticker",
        venue_sequence=pl.col("update_id"),
        received_time=received,
        event_time=pl.coalesce(exchange, received),
        bid_price=pl.col("bid").cast(pl.Decimal(28, 10)),
        bid_size=pl.col("bid_qty").cast(pl.Decimal(28, 10)),
        ask_price=pl.col("ask").cast(pl.Decimal(28, 10)),
        ask_size=pl.col("ask_qty").cast(pl.Decimal(28, 10)),
    )
    rows = recorded["crypto_quotes"].select(truth.columns)
    assert len(rows) == 388_151
    assert rows.sort(keys).equals(truth.sort(keys))
    sources = recorded["crypto_quotes"].group_by("market").agg(pl.col("event_time_source").unique())
    assert dict(sources.iter_rows()) == {
        "spot": ["received"],
        "usdm": ["exchange"],
        "coinm": ["exchange"],
    }


def test_trade_ids_are_contiguous_per_instrument_across_the_files_of_a_year(
    recorded: dict[str, pl.DataFrame],
) -> None:
    ids = recorded["crypto_trades"].select(
        "market", "ticker", pl.col("event_time").dt.year(), id=pl.col("trade_id").cast(pl.Int64)
    )
    spans = ids.group_by("market", "ticker", "event_time").agg(
        pl.len().alias("rows"),
        unique=pl.col("id").n_unique(),
        span=pl.col("id").max() - pl.col("id").min() + 1,
    )
    assert len(spans) == 8
    assert spans.filter(
        (pl.col("rows") != pl.col("unique")) | (pl.col("rows") != pl.col("span"))
    ).is_empty()


def test_the_insurance_fund_s_print_is_kept_and_told(recorded: dict[str, pl.DataFrame]) -> None:
    trades = recorded["crypto_trades"]
    [row] = trades.filter(pl.col("conditions").is_not_null()).to_dicts()
    assert (row["conditions"], row["market"]) == ("INSURANCE_FUND", "usdm")
    assert int(row["event_time"].timestamp()) // 60 * 60_000 == 1680652860000


def test_events_of_the_next_utc_day_sit_in_the_earlier_file(
    recorded: dict[str, pl.DataFrame],
) -> None:
    trades = recorded["crypto_trades"].filter(pl.col("file") == "spot_btcusdt_20240808.gz")
    days = trades["event_time"].dt.date().unique().sort().to_list()
    assert [str(day) for day in days] == ["2024-08-08", "2024-08-09"]


def test_capture_of_the_spot_socket_holds_what_it_holds(data_dir: Path) -> None:
    recording = open_recording(data_dir / "venue_captures" / "BINANCE.ws.1.0.gz")
    raw = [entry for batch in recording.batches() for entry in batch]
    frames = frames_of([frame for _, frame in raw], received_us=[at for at, _ in raw])
    decoded = codecs()[recording.feed].decode(frames)
    assert (recording.feed, decoded.events) == ("binance.spot", len(raw))
    assert decoded.tables["crypto_quotes"].num_rows == 84
    assert decoded.ignored == {"depthUpdate": 177, "aggTrade": 2, "kline": 2}
    assert decoded.quarantine.num_rows == 0


def test_instruments_of_a_recording_are_told_by_a_scan(data_dir: Path) -> None:
    path = data_dir / "binance_frames" / "cm_btcusd_perp_20240809.gz"
    assert instruments(path) == {("binance", "coinm", "X:BTCUSD_PERP")}
