"""Decode Binance's trades and quotes by the column, in front of the reference decoder.

Frames that are plainly a trade or a bookTicker are parsed in one call; comparisons over whole
columns accept what is plainly right. All else goes to the reference decoder (lake.feeds.binance).
Both give the same outcome for the same frames, by test.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from lake.feeds.binance import MICROSECONDS_FROM, SYMBOL, BinanceCodec, Market
from lake.feeds.codec import Decoded, Frames
from lake.feeds.columns import constant, joined, possible_times, spelled, table
from lake.feeds.events import schema
from lake.feeds.ndjson import LINE_BYTES_MAX, stretches
from lake.feeds.scaled import decimals, scaled

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

SCHEMA: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("e", "s", "p", "q", "b", "B", "a", "A", "X", "ps"), pl.String),
    **dict.fromkeys(("t", "T", "u", "E"), pl.Int64),
    **dict.fromkeys(("m", "M"), pl.Boolean),
}
"""A field of another type makes its stretch of frames unparsable here, and so odd; ps, E and M are
not kept, but a stretch in which every key is known is quicker to check."""

COMBINED = re.compile(rb'\{"stream":"[\w@.!-]*","data":(?=\{)', re.ASCII)
STARTS = (b'{"e":"trade",', b'{"e":"bookTicker",', b'{"u":')
SPELLING_CHARS_MAX = 16
"""A decimal of 15 digits and a point: a double still tells it from every other."""


class BinanceColumns:
    """The codec that the path uses for one of Binance's markets; same outcome as BinanceCodec."""

    ids_contiguous = True

    def __init__(self, market: Market) -> None:
        self._reference = BinanceCodec(market)
        self._market = market
        self.feed = self._reference.feed
        self.version = self._reference.version

    def decode(self, frames: Frames) -> Decoded:
        """Return every event of frames, classed; never raises for what a frame contains."""
        odd = np.ones(len(frames), np.bool_)
        parts: list[Decoded] = []
        for places, events in stretches(frames, *_bodies(frames), SCHEMA):
            trade = (events["e"] == "trade").fill_null(False)
            quote = (events["e"] == "bookTicker").fill_null(events["B"].is_not_null())
            tables = {}
            for name, decode, kind in (
                ("crypto_trades", self._trades, trade),
                ("crypto_quotes", self._quotes, quote),
            ):
                rows = events.filter(kind)
                found, right = decode(rows, frames.shard)
                tables[name] = found if right.all() else found.filter(pa.array(right))
                odd[places[rows["frame"].to_numpy()[right]]] = False
            count = sum(found.num_rows for found in tables.values())
            parts.append(Decoded(tables, schema("quarantine").empty_table(), {}, count))
        if odd.any() or not parts:
            parts.append(self._reference.decode(frames, np.flatnonzero(odd).tolist()))
        return joined(parts)

    def _trades(self, rows: pl.DataFrame, shard: int) -> tuple[pa.Table, Bool]:
        ticker, ok = _tickers(rows["s"])
        price, price_right = _numbers(rows["p"])
        size, size_right = _numbers(rows["q"])
        time_us, timed = _times(rows)
        ok &= price_right & size_right & (price > 0) & (size > 0) & timed
        ok &= (rows["t"].is_not_null() & rows["m"].is_not_null()).to_numpy()
        ok &= (rows["X"].is_null() | (rows["X"] == "MARKET").fill_null(False)).to_numpy()
        side = pl.select(pl.when(rows["m"]).then(pl.lit("sell")).otherwise(pl.lit("buy")))
        own = {
            "trade_id": rows["t"].cast(pl.String).to_arrow().cast(pa.string()),
            "event_time": time_us,
            "price": decimals(price),
            "size": decimals(size),
            "side": side.to_series().to_arrow().cast(pa.string()),
            "conditions": pa.nulls(len(rows), pa.string()),
        }
        return table("crypto_trades", rows, shard, own | self._shared(ticker)), ok

    def _quotes(self, rows: pl.DataFrame, shard: int) -> tuple[pa.Table, Bool]:
        ticker, ok = _tickers(rows["s"])
        untimed = rows["T"].is_null().to_numpy()
        time_us, timed = _times(rows)
        sequence = rows["u"].fill_null(-1).to_numpy()
        ok &= (untimed | timed) & (sequence >= 0)
        found = {}
        for column, name in (
            ("bid_price", "b"),
            ("bid_size", "B"),
            ("ask_price", "a"),
            ("ask_size", "A"),
        ):
            value, right = _numbers(rows[name])
            ok &= right & ((value > 0) if column.endswith("price") else (value >= 0))
            found[column] = decimals(value)
        source = pa.array(["exchange", "received"]).take(pa.array(untimed.astype(np.int8)))
        own = {
            "event_time": np.where(untimed, rows["received_us"].to_numpy(), time_us),
            "event_time_source": source,
            "venue_sequence": pa.array(sequence),
            **found,
        }
        return table("crypto_quotes", rows, shard, own | self._shared(ticker)), ok

    def _shared(self, ticker: pa.Array) -> dict[str, pa.Array]:
        return {
            "ticker": ticker,
            "exchange": constant("binance", len(ticker)),
            "market": constant(self._market, len(ticker)),
        }


def _bodies(frames: Frames) -> tuple[list[bytes], list[int]]:
    """Return what are plainly trades or quotes, out of their combined stream, and their places."""
    bodies: list[bytes] = []
    places: list[int] = []
    for i, raw in enumerate(frames):
        combined = COMBINED.match(raw)
        body = raw[combined.end() : -1] if combined and raw[-2:] == b"}}" else raw
        if len(raw) > LINE_BYTES_MAX or (body is raw and b'"stream"' in raw):
            continue
        if body.startswith(STARTS) and body[-1:] == b"}" and b"\n" not in raw:
            bodies.append(body)
            places.append(i)
    return bodies, places


def _tickers(symbols: pl.Series) -> tuple[pa.Array, Bool]:
    return spelled(
        symbols,
        # a bare number would read as its digits
        lambda name: SYMBOL.fullmatch(name) is not None and not name.isdigit(),
        lambda name: f"X:{name}",
    )


def _numbers(texts: pl.Series) -> tuple[Int64, Bool]:
    """Return decimals times 10^10, and where that is exactly what the text spells."""
    value, exact = scaled(texts.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy())
    short = (texts.str.len_bytes() <= SPELLING_CHARS_MAX) & ~texts.str.starts_with("+")
    return value, exact & short.fill_null(False).to_numpy()


def _times(rows: pl.DataFrame) -> tuple[Int64, Bool]:
    """Return event times in UTC microseconds, and which are possible."""
    given = rows["T"].fill_null(-1).to_numpy()
    sane = (given > 0) & (given < MICROSECONDS_FROM)
    time_us = np.where(sane, given, 0) * 1000
    time_us = np.where(given >= MICROSECONDS_FROM, given, time_us)
    return time_us, possible_times(time_us, rows["received_us"].to_numpy())
