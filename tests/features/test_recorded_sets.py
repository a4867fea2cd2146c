"""Recorded quotes and bars: what other tools make of the same, by the same definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from feature_repo.compute import features_of
from feature_repo.feature_set import MICROSTRUCTURE, WITH_REFERENCE
from lake.features.common_bars import with_reference
from lake.features.quote_minutes import minutes_of_quotes

ROWS = 3_000


def recorded_quotes(data_dir: Path) -> pl.DataFrame:
    """Return recorded quotes of futures, as crypto_quotes names their columns."""
    frame = pl.read_parquet(data_dir / "binance_ticks" / "quotes.parquet")
    return frame.filter(pl.col("event_ms").is_not_null()).select(
        (pl.lit("X:") + pl.col("symbol")).alias("ticker"),
        pl.lit("binance").alias("exchange"),
        pl.col("venue").alias("market"),
        pl.from_epoch("event_ms", "ms").dt.cast_time_unit("us").dt.replace_time_zone("UTC")
        .alias("event_time"),
        pl.from_epoch("event_ms", "ms").dt.cast_time_unit("us").dt.replace_time_zone("UTC")
        .alias("received_time"),
        pl.col("bid").alias("bid_price"),
        pl.col("bid_qty").alias("bid_size"),
        pl.col("ask").alias("ask_price"),
        pl.col("ask_qty").alias("ask_size"),
        pl.col("update_id").alias("seq"),
    )  # fmt: skip


def test_spread_and_imbalance_of_recorded_quotes_are_those_of_polars(data_dir: Path) -> None:
    quotes = recorded_quotes(data_dir)
    found = features_of(minutes_of_quotes(quotes.to_arrow()), MICROSTRUCTURE)
    bid, ask, size, against = (
        pl.col(name).cast(pl.Float64) for name in ("bid_price", "ask_price", "bid_size", "ask_size")
    )
    expected = (
        quotes.sort("event_time", "seq")
        .with_columns(pl.col("event_time").dt.truncate("1m").dt.offset_by("1m"))
        .group_by("ticker", "market", "event_time")
        .agg(
            (ask - bid).last().alias("spread"),
            ((ask - bid) / ((ask + bid) / 2)).last().alias("relative_spread"),
            ((ask - bid).sum() / ((ask + bid).sum() / 2)).alias("relative_spread_mean"),
            ((size - against) / (size + against)).last().alias("quote_imbalance"),
            ((size - against).sum() / (size + against).sum()).alias("quote_imbalance_mean"),
            (pl.len() / 60).alias("quote_intensity"),
        )
        .sort("ticker", "market", "event_time")
    )
    ours = pl.DataFrame(found).sort("ticker", "market", "event_time")
    assert len(ours) == len(expected) > 5
    for name in MICROSTRUCTURE.names:
        apart = np.abs(ours[name].to_numpy() - expected[name].to_numpy())
        assert apart.max() < 1e-9, name


def recorded_bars(data_dir: Path, name: str) -> pa.Table:
    """Return recorded closes of five minutes, as bars."""
    path = data_dir / "bars_5m_2025" / f"{name}_USDT_USDT-5m-futures.feather"
    frame = pl.read_ipc(path).head(ROWS)
    return frame.select(
        pl.lit(f"X:{name}USDT").alias("ticker"),
        pl.lit("binance").alias("exchange"),
        pl.lit("usdm").alias("market"),
        pl.lit("5m").alias("interval"),
        pl.col("date").dt.cast_time_unit("us").alias("event_time"),
        pl.col("date").dt.cast_time_unit("us").alias("received_time"),
        pl.col("close").cast(pl.Decimal(28, 10)),
    ).to_arrow()


def test_correlation_and_beta_of_recorded_bars_are_those_of_numpy(data_dir: Path) -> None:
    own, reference = (recorded_bars(data_dir, name) for name in ("ETH", "BTC"))
    found = features_of(with_reference(pa.concat_tables([own, reference])), WITH_REFERENCE)
    assert found.num_rows == ROWS
    x, y = (
        np.diff(np.log(each["close"].cast(pa.float64()).to_numpy())) for each in (own, reference)
    )
    for at in range(60, ROWS, 97):
        mine = slice(at - 60, at)
        correlation = np.corrcoef(x[mine], y[mine])[0, 1]
        assert found["correlation_60"][at].as_py() == pytest.approx(correlation, abs=1e-11)
        slope = np.polyfit(y[mine], x[mine], 1)[0]
        assert found["beta_60"][at].as_py() == pytest.approx(slope, abs=1e-10)
