"""Sets of quotes, scores and pairs: rows/s beside polars; then every set into a lake, timed.

    python benchmarks/feature_sets.py [--rows N] [--json]

polars gets the same rows and the same formulas, as float64: group_by for quotes, rolling windows by
time for scores, rolling_corr over joined bars for pairs. Ours are computed whole and in pieces cut
at random, and compared by their bits. The lake part is `ticklake features materialize` from nothing
in a home of its own, PostgreSQL included; then once more after one late bar of the reference.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import numpy as np
import polars as pl
import psycopg
import pyarrow as pa

from feature_repo.compute import features_of
from feature_repo.feature_set import (
    MICROSTRUCTURE,
    SENTIMENT_MEANS,
    WITH_REFERENCE,
    FeatureSet,
)
from feature_repo.scores import with_scores
from flows.every_feature_set import every_set
from infra.servers.embedded import down, up
from lake.bars.bars_table import BarsTable, Marks
from lake.bars.changes import Changes
from lake.bars.kernel import KEY
from lake.clock import SystemClock
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.features.common_bars import with_reference
from lake.features.quote_minutes import minutes_of_quotes
from lake.hot.partitions import ensure_partitions
from lake.hot.turn import turn
from lake.tables.catalog import open_catalog
from lake.warehouse import Warehouse, warehouse_of

SEED = 7
MINUTE_US = 60_000_000
QUOTES_A_MINUTE = 20
SCORES_A_DAY = 288
TIME = pa.timestamp("us", tz="UTC")

Figures = dict[str, float | int]


def as_contract(dataset: str, columns: Mapping[str, object], rows: int) -> pa.Table:
    """Return columns as the contract has them; what is not given is null, or 0."""
    made = []
    for field in arrow_schema(load(dataset)):
        given = columns.get(field.name, None if field.nullable else 0)
        if not isinstance(given, np.ndarray):
            made.append(pa.repeat(pa.scalar(given, field.type), rows))
        elif pa.types.is_decimal(field.type):
            made.append(pa.array(np.round(given, 8)).cast(field.type, safe=False))
        else:
            made.append(pa.array(given).cast(field.type))
    return pa.table(made, schema=arrow_schema(load(dataset)))


def bars(rows: int, start_us: int) -> pa.Table:
    """Return minute bars of the reference and of one beside it, as many of each."""
    random = np.random.default_rng(SEED)
    at = start_us + np.arange(rows) * MINUTE_US
    common = random.normal(0, 1e-3, rows)
    made = []
    for ticker in ("X:BTCUSD", "X:ETHUSD"):
        close = 100 * np.exp(np.cumsum(common + random.normal(0, 1e-3, rows)))
        volume = random.random(rows) * 10
        columns = {
            "ticker": ticker,
            "exchange": "sim",
            "market": "spot",
            "interval": "1m",
            "event_time": at,
            "received_time": at + MINUTE_US,
            "source": "trades",
            "open": close,
            "high": close * 1.001,
            "low": close * 0.999,
            "close": close,
            "volume": volume,
            "turnover": close * volume,
            "vwap": close,
            "trades": random.integers(1, 50, rows),
            "buy_volume": volume / 2,
            "sell_volume": volume / 2,
            "first_time": at,
            "last_time": at,
        }
        made.append(as_contract("bars", columns, rows))
    return pa.concat_tables(made)


def quotes(rows: int, start_us: int) -> pa.Table:
    """Return quotes of one series."""
    random = np.random.default_rng(SEED)
    at = start_us + np.arange(rows) * (MINUTE_US // QUOTES_A_MINUTE)
    bid = np.round(100 * np.exp(np.cumsum(random.normal(0, 1e-5, rows))), 2)
    columns = {
        "ticker": "X:BTCUSD",
        "exchange": "sim",
        "market": "spot",
        "event_time": at,
        "received_time": at + 5_000,
        "event_time_source": "exchange",
        "bid_price": bid,
        "ask_price": bid + random.integers(1, 9, rows) / 100,
        "bid_size": random.random(rows) * 5,
        "ask_size": random.random(rows) * 5,
        "seq": (np.arange(rows) + 1) << 16,
    }
    return as_contract("crypto_quotes", columns, rows)


def scores(rows: int, start_us: int) -> pa.Table:
    """Return scores of one asset, from a day before the bars on."""
    random = np.random.default_rng(SEED)
    at = start_us + np.arange(rows) * (1_440 // SCORES_A_DAY * MINUTE_US)
    columns = {
        "asset": "BTC",
        "source": "sim",
        "event_time": at,
        "received_time": at + 40_000_000,
        "sentiment_score": random.random(rows) * 2 - 1,
        "confidence": random.random(rows),
        "seq": (np.arange(rows) + 1) << 16 | 1,
    }
    return as_contract("market_sentiment", columns, rows)


def quotes_by_polars(given: pl.DataFrame) -> pl.DataFrame:
    """Return the same formulas over each minute."""
    bid, ask = pl.col("bid_price").cast(pl.Float64), pl.col("ask_price").cast(pl.Float64)
    size, against = pl.col("bid_size").cast(pl.Float64), pl.col("ask_size").cast(pl.Float64)
    return (
        given.sort("event_time", "seq")
        .group_by("ticker", "exchange", "market", pl.col("event_time").dt.truncate("1m"))
        .agg(
            (ask - bid).last().alias("spread"),
            ((ask - bid) / ((ask + bid) / 2)).last().alias("relative_spread"),
            ((ask - bid).sum() / ((ask + bid).sum() / 2)).alias("relative_spread_mean"),
            ((size - against) / (size + against)).last().alias("quote_imbalance"),
            ((size - against).sum() / (size + against).sum()).alias("quote_imbalance_mean"),
            (pl.len() / 60).alias("quote_intensity"),
        )
    )


def scores_by_polars(given: pl.DataFrame, scored: pl.DataFrame) -> pl.DataFrame:
    """Return the same means by time, joined to the bars."""
    value = pl.col("sentiment_score").cast(pl.Float64)
    total = (
        scored.sort("event_time")
        .select("event_time", value.cum_sum().alias("total"), value.cum_count().alias("count"))
        .sort("event_time")
    )
    made = given.filter(pl.col("ticker") == "X:BTCUSD").with_columns(
        pl.col("event_time").dt.offset_by("1m").alias("end")
    )
    made = made.sort("end").join_asof(total, left_on="end", right_on="event_time")
    for name, back in (("1h", "-1h"), ("24h", "-1d")):
        before = total.rename({"total": f"total_{name}", "count": f"count_{name}"})
        at = pl.col("end").dt.offset_by(back)
        made = made.with_columns(at.alias(f"at_{name}")).join_asof(
            before.rename({"event_time": f"time_{name}"}),
            left_on=f"at_{name}",
            right_on=f"time_{name}",
        )
    means = [
        (pl.col("total") - pl.col(f"total_{name}")) / (pl.col("count") - pl.col(f"count_{name}"))
        for name in ("1h", "24h")
    ]
    return made.with_columns(
        means[0].alias("mean_1h"), means[1].alias("mean_24h"), (means[0] - means[1]).alias("change")
    )


def pairs_by_polars(given: pl.DataFrame) -> pl.DataFrame:
    """Return the same correlation and slope over joined bars."""
    key = ["exchange", "market", "interval", "event_time"]
    close = pl.col("close").cast(pl.Float64)
    reference = given.filter(pl.col("ticker") == "X:BTCUSD").select(*key, close.alias("other"))
    both = given.filter(pl.col("ticker") != "X:BTCUSD").with_columns(close).join(reference, on=key)
    log = [pl.col(name).log().diff().alias(name) for name in ("close", "other")]
    x, y = pl.col("close"), pl.col("other")
    return (
        both.sort("event_time")
        .with_columns(log)
        .with_columns(
            pl.rolling_corr(x, y, window_size=60).alias("correlation"),
            (pl.rolling_cov(x, y, window_size=60) / y.rolling_var(60)).alias("beta"),
        )
    )


def pieces_of(rows: pa.Table, of: FeatureSet) -> pa.Table:
    """Return the features computed in pieces of random length, each with its lookback."""
    random, at, found = np.random.default_rng(SEED), 0, []
    while at < rows.num_rows:
        length = min(int(random.integers(1, 50_000)), rows.num_rows - at)
        start = max(at - of.lookback + 1, 0)
        part = features_of(rows.slice(start, at + length - start), of)
        found.append(part.slice(at - start))
        at += length
    return pa.concat_tables(found)


def compared(
    of: FeatureSet, rows_of: Callable[[], pa.Table], theirs: Callable[[], pl.DataFrame]
) -> Figures:
    """Return rows/s of ours and of polars, and how many values differ where cut."""
    begun = time.perf_counter()
    rows = rows_of()
    whole = features_of(rows, of)
    ours_s = time.perf_counter() - begun
    begun = time.perf_counter()
    theirs()
    polars_s = time.perf_counter() - begun
    cut, differ = pieces_of(rows, of), 0
    for name in of.names:
        a, b = (t[name].fill_null(np.nan).to_numpy().view(np.int64) for t in (whole, cut))
        differ += int((a != b).sum())
    return {
        f"{of.name}_rows": whole.num_rows,
        f"{of.name}_rows_per_s": round(whole.num_rows / ours_s),
        f"{of.name}_polars_rows_per_s": round(whole.num_rows / polars_s),
        f"{of.name}_values_that_differ_in_pieces": differ,
    }


def computing(rows: int) -> Figures:
    """Return the figures of computing alone."""
    given, quoted = bars(rows, 0), quotes(rows, 0)
    scored = scores(rows // 5, -1_440 * MINUTE_US)
    mine = given.slice(0, rows)
    frames = [pl.DataFrame(each) for each in (given, quoted, scored)]
    return {
        **compared(
            MICROSTRUCTURE, lambda: minutes_of_quotes(quoted), lambda: quotes_by_polars(frames[1])
        ),
        "quotes": rows,
        **compared(
            SENTIMENT_MEANS,
            lambda: with_scores(mine, scored),
            lambda: scores_by_polars(frames[0], frames[2]),
        ),
        **compared(
            WITH_REFERENCE, lambda: with_reference(given), lambda: pairs_by_polars(frames[0])
        ),
    }


def into_hot(dsn: str, tables: dict[str, pa.Table]) -> None:
    """Bring ticks into hot as one batch of a shard."""
    with psycopg.connect(dsn) as connection:
        for dataset, rows in tables.items():
            days = {each.date() for each in rows["event_time"].to_pylist()}
            ensure_partitions(connection, dataset, days)
        connection.commit()
    with adbc.connect(dsn) as target, target.cursor() as cursor:
        for dataset, rows in tables.items():
            cursor.adbc_ingest(dataset, rows, mode="append", db_schema_name="market")
        target.commit()
    last = max(rows.num_rows for rows in tables.values())
    stored = sum(rows.num_rows for rows in tables.values())
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO market.shards (shard, last_frame) VALUES (0, %s)", (last,))
        connection.execute(
            "INSERT INTO market.ingest_batches (shard, epoch, first_frame, last_frame, feed,"
            " codec_version, frames, events, stored, quarantined, duplicate, ignored,"
            " committed_time, seq) VALUES (0, 1, 1, %s, 'sim', 1, %s, %s, %s, 0, 0, 0, now(), %s)",
            (last, last, stored, stored, last << 16),
        )


def materialising(rows: int) -> Figures:
    """Return the figures of every set into a lake, from nothing and after one late bar."""
    start_us = SystemClock().now_us() // MINUTE_US * MINUTE_US - (rows + 10) * MINUTE_US
    given = bars(rows, start_us)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve() / "home"
        try:
            dsn, place = str(up(home).state["postgres"]["dsn"]), warehouse_of(home)
            into_hot(
                dsn,
                {
                    "crypto_quotes": quotes(rows * QUOTES_A_MINUTE // 10, start_us),
                    "market_sentiment": scores(rows // 5, start_us - 1_440 * MINUTE_US),
                },
            )
            publish(dsn, home, given, given.slice(0, 0))
            first = timed(dsn, place)
            at = rows - 100
            row = given.slice(at, 1)
            row = row.set_column(
                row.column_names.index("close"), row.schema.field("close"), row["high"]
            )
            publish(dsn, home, row, given.slice(at, 1))
            late = timed(dsn, place)
        finally:
            down(home)
    return {
        **{f"lake_{name}_rows": put for name, (put, _) in first.items()},
        **{f"lake_{name}_rows_per_s": round(put / s) for name, (put, s) in first.items()},
        **{f"late_bar_{name}_rows": put for name, (put, _) in late.items()},
        **{f"late_bar_{name}_s": round(s, 2) for name, (_, s) in late.items()},
    }


def publish(dsn: str, home: Path, put: pa.Table, drop: pa.Table) -> None:
    """Publish bars, some in place of others."""
    place = warehouse_of(home)
    with (
        turn(dsn, "bars") as held,
        closing(open_catalog(dsn, place, epoch=held.epoch, lease="bars")) as catalog,
    ):
        change = Changes(put, drop.select(list(KEY)))
        BarsTable(catalog, epoch=held.epoch).publish(change, Marks({0: 1}, 0), audited=True)


def timed(dsn: str, place: Warehouse) -> dict[str, tuple[int, float]]:
    """Return rows added and seconds, by set."""
    found = {}
    for name in ("market", "microstructure", "sentiment", "cross_asset"):
        begun = time.perf_counter()
        made = every_set(dsn, place, names=(name,))
        found[name] = (made[0].step.put, time.perf_counter() - begun)
    return found


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=200_000)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    found = {**computing(chosen.rows), **materialising(chosen.rows // 4)}
    if chosen.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name.replace('_', ' '):50} {value:>14,}")


if __name__ == "__main__":
    main()
