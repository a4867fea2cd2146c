"""Features: rows/s beside polars' expressions of the same formulas; the same bits over 10 M values.

    python benchmarks/features.py [--rows N] [--json]

polars gets the same bars as float64 and its own rolling means and ewm_mean, whose last digits
depend on where the series starts: how many of them do is counted, too. Ours are computed whole, in
pieces cut at random, and bar by bar as live does, and every value is compared by its bits. The
other sets, and what the lake adds, are in benchmarks/feature_sets.py.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import polars as pl
import pyarrow as pa

from feature_repo.compute import features_of
from feature_repo.feature_set import MARKET

SEED = 7
LIVE_BARS = 200
MINUTE_US = 60_000_000


def walk(rows: int) -> pa.Table:
    """Return minute bars of one series, a random walk."""
    random = np.random.default_rng(SEED)
    close = 100 * np.exp(np.cumsum(random.normal(0, 1e-3, rows)))
    volume = random.random(rows) * 10
    buy = volume * random.random(rows)
    constant = {"ticker": "X:BTCUSD", "exchange": "sim", "market": "spot", "interval": "1m"}
    return pa.table(
        {name: pa.repeat(value, rows) for name, value in constant.items()}
        | {
            "event_time": pa.array(np.arange(rows) * MINUTE_US).cast(pa.timestamp("us", "UTC")),
            "high": close * (1 + random.random(rows) * 1e-3),
            "low": close * (1 - random.random(rows) * 1e-3),
            "close": close,
            "volume": volume,
            "turnover": close * volume,
            "trades": random.integers(1, 50, rows).astype(np.float64),
            "buy_volume": buy,
            "sell_volume": volume - buy,
        }
    )


def expressions() -> list[list[pl.Expr]]:
    """Return the same formulas for polars, in steps of what depends on what."""
    close, before = pl.col("close"), pl.col("close").shift(1)
    change = close - before
    up, down = change.clip(lower_bound=0), (-change).clip(lower_bound=0)
    true = pl.max_horizontal("high", before) - pl.min_horizontal("low", before)
    volume, buy, sell = pl.col("volume"), pl.col("buy_volume"), pl.col("sell_volume")
    bought, sold = buy.rolling_sum(20), sell.rolling_sum(20)
    wilder = [each.ewm_mean(alpha=1 / 14) for each in (up, down)]
    seconds = pl.col("event_time").cast(pl.Int64) / 1e6
    middle, apart = pl.col("sma_20"), 2 * pl.col("deviation_20")
    lower, upper = pl.col("bollinger_lower"), pl.col("bollinger_upper")
    return [
        [
            (close / before - 1).alias("return_1"),
            (close / before).log().alias("log_return_1"),
            close.rolling_mean(20).alias("sma_20"),
            close.rolling_std(20, ddof=0).alias("deviation_20"),
            close.ewm_mean(span=12).alias("ema_12"),
            close.ewm_mean(span=26).alias("ema_26"),
            (100 * up.rolling_sum(14) / (up.rolling_sum(14) + down.rolling_sum(14))).alias(
                "rsi_14"
            ),
            (100 * wilder[0] / (wilder[0] + wilder[1])).alias("rsi_14_wilder"),
            true.ewm_mean(alpha=1 / 14).alias("atr_14"),
            ((volume - volume.rolling_mean(20)) / volume.rolling_std(20, ddof=0)).alias(
                "volume_zscore_20"
            ),
            (close / (pl.col("turnover").rolling_sum(20) / volume.rolling_sum(20)) - 1).alias(
                "vwap_distance_20"
            ),
            ((bought - sold) / (bought + sold)).alias("trade_sign_imbalance_20"),
            (pl.col("trades").rolling_sum(20) / (seconds - seconds.shift(20))).alias(
                "trade_intensity_20"
            ),
        ],
        [
            (pl.col("ema_12") - pl.col("ema_26")).alias("macd"),
            (middle + apart).alias("bollinger_upper"),
            (middle - apart).alias("bollinger_lower"),
            (pl.col("log_return_1") ** 2).rolling_sum(30).sqrt().alias("realised_volatility_30"),
        ],
        [
            pl.col("macd").ewm_mean(span=9).alias("macd_signal"),
            ((close - lower) / (upper - lower)).alias("bollinger_percent_b"),
            ((upper - lower) / middle).alias("bollinger_width"),
        ],
        [(pl.col("macd") - pl.col("macd_signal")).alias("macd_histogram")],
    ]


def by_polars(bars: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with the features beside the bars."""
    for step in expressions():
        bars = bars.with_columns(step)
    return bars


def differing(one: pa.Table, other: pa.Table) -> int:
    """Return how many values of the features differ in their bits; a null differs from a value."""
    count = 0
    for name in MARKET.names:
        a, b = (t[name].fill_null(np.nan).to_numpy().view(np.int64) for t in (one, other))
        count += int((a != b).sum())
    return count


def in_pieces(bars: pa.Table) -> pa.Table:
    """Return the features computed in pieces of random length, each with its lookback."""
    random, before = np.random.default_rng(SEED), MARKET.lookback - 1
    pieces, at = [], 0
    while at < bars.num_rows:
        rows = min(int(random.integers(1, 50_000)), bars.num_rows - at)
        start = max(at - before, 0)
        found = features_of(
            bars.slice(start, at + rows - start),
            MARKET,
            block_rows=int(random.integers(997, 65_536)),
        )
        pieces.append(found.slice(at - start))
        at += rows
    return pa.concat_tables(pieces)


def live(bars: pa.Table) -> tuple[pa.Table, float]:
    """Return the features of the last bars, one call a bar, and the seconds a call."""
    begun = time.perf_counter()
    rows = [
        features_of(bars.slice(at - MARKET.lookback + 1, MARKET.lookback), MARKET).slice(
            MARKET.lookback - 1
        )
        for at in range(bars.num_rows - LIVE_BARS, bars.num_rows)
    ]
    return pa.concat_tables(rows), (time.perf_counter() - begun) / LIVE_BARS


def measure(rows: int) -> dict[str, float | int]:
    """Return the figures."""
    bars = walk(rows)
    begun = time.perf_counter()
    whole = features_of(bars, MARKET)
    ours_s = time.perf_counter() - begun
    pieces = differing(whole, in_pieces(bars))
    one_by_one, call_s = live(bars)
    frame = pl.from_arrow(bars)
    assert isinstance(frame, pl.DataFrame)
    begun = time.perf_counter()
    theirs = by_polars(frame)
    polars_s = time.perf_counter() - begun
    half = rows // 2
    later = by_polars(frame.slice(half)).slice(10_000).select(MARKET.names).to_arrow()
    return {
        "rows": rows,
        "values": rows * len(MARKET.features),
        "ours_rows_per_s": round(rows / ours_s),
        "polars_rows_per_s": round(rows / polars_s),
        "values_that_differ_in_pieces": pieces,
        "values_that_differ_live": differing(whole.slice(rows - LIVE_BARS), one_by_one),
        "live_ms_per_bar": round(call_s * 1e3, 3),
        "values_of_polars_that_differ_by_start": differing(
            theirs.slice(half + 10_000).select(MARKET.names).to_arrow(), later
        ),
    }


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=500_000)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    found = measure(chosen.rows)
    if chosen.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name.replace('_', ' '):42} {value:>14,}")


if __name__ == "__main__":
    main()
