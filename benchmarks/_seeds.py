"""What a worker of the live path begins with in a benchmark: bars of the lake, its windows full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from feature_repo.feature_set import MARKET
from lake.bars.kernel import SECOND_US, WIDTHS_US
from serving.live.live_features import BEHIND
from serving.live.seed import SCHEMA, TRADES, Seed

SEED = 7
"""Of what is made by chance."""


def seed_of(closed_us: int, tickers: int, windows: Sequence[str] = ("1m",)) -> Seed:
    """Return an hour of seconds and of minutes, and the bars that features look back on.

    windows: intervals of those bars.
    """
    count = MARKET.lookback + BEHIND
    before = pa.concat_tables([bars(closed_us, tickers, each, count) for each in windows])
    held = pa.concat_tables(
        [bars(closed_us, tickers, "1s", 3_600), bars(closed_us, tickers, "1m", 60)]
    )
    return Seed(closed_us, 0, held, before, TRADES.empty_table())


def bars(closed_us: int, tickers: int, interval: str, count: int) -> pa.Table:
    """Return so many bars of each ticker before a time."""
    random = np.random.default_rng(SEED)
    width_us, rows = WIDTHS_US[interval], count * tickers
    starts = closed_us - width_us * np.tile(np.arange(count, 0, -1), tickers)
    close = 100 + random.integers(0, 700, rows) / 100
    names = np.repeat([f"X:C{n}USD" for n in range(tickers)], count)
    columns: Mapping[str, Any] = {
        "ticker": names.tolist(),
        **{name: [said] * rows for name, said in (("exchange", "sim:1"), ("market", "spot"))},
        **dict.fromkeys(("event_time", "received_time", "first_time"), starts),
        "last_time": starts + width_us - SECOND_US // 2,
        "interval": [interval] * rows,
        **dict.fromkeys(("open", "close", "vwap"), close),
        "high": close + 1,
        "low": close - 1,
        **{name: random.integers(1, 9, rows) for name in ("volume", "trades")},
        **{name: random.integers(1, 4, rows) for name in ("buy_volume", "sell_volume")},
        "turnover": 100 * random.integers(1, 9, rows),
        **dict.fromkeys(("first_seq", "last_seq"), np.zeros(rows, np.int64)),
        "source": ["trades"] * rows,
    }
    made = [_column(columns[each.name], each.type) for each in SCHEMA]
    return pa.table(made, schema=SCHEMA)


def _column(values: Any, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_decimal(kind):
        return pa.array(values).cast(kind)
    cents = pa.array(np.rint(np.asarray(values) * 100).astype(np.int64)).cast(pa.decimal128(19, 0))
    return pa.array([each.scaleb(-2) for each in cents.to_pylist()], kind)
