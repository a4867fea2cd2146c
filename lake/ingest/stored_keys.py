"""Look keys up in what is stored, hot and lake, for redelivery that memory can't judge."""

from __future__ import annotations

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl

from lake.ingest.redelivery import RULES
from lake.views.client import Client
from lake.views.engine import file_fault
from lake.warehouse import Warehouse

MARGIN_US = 3_600_000_000
"""A redelivered event carries its exchange's time again, give or take a venue's rounding; one hour
on both sides is looked at."""

KEY_SQL = {
    "crypto_trades": "trade_id",
    "crypto_quotes": "venue_sequence::varchar",
    "crypto_aggregates": "(epoch_us(event_time) // 1000000"
    " // CASE WHEN \"interval\" = '1m' THEN 60 ELSE 1 END)::varchar",
    "market_sentiment": "epoch_us(event_time)::varchar",
}


class StoredUnion:
    """The union view as a set of keys; raises Unavailable when the servers are not there."""

    def __init__(self, dsn: str, warehouse: Warehouse | None = None) -> None:
        self._dsn = dsn
        self._warehouse = warehouse
        self._client: Client | None = None

    def stored(self, dataset: str, keys: pl.DataFrame) -> npt.NDArray[np.bool_]:
        """Tell which rows of keys (instrument, key, event_time) are stored already."""
        if self._client is None:
            self._client = Client(self._dsn, self._warehouse)
        self._client.refresh()
        instrument = ", ".join(f'"{name}"' for name in RULES[dataset].instrument)
        ticker = RULES[dataset].instrument[-1]
        wanted = keys.with_row_index("i").with_columns(
            pl.col("instrument").str.split("|").list.last().alias("ticker")
        )
        low, high = wanted["event_time"].dt.epoch("us").sort().gather([0, -1]).to_list()
        connection = self._client.duckdb
        connection.register("wanted", wanted.to_arrow())
        query = (
            f"SELECT DISTINCT i FROM wanted JOIN ("
            f" SELECT concat_ws('|', {instrument}) AS instrument, {KEY_SQL[dataset]} AS key"
            f" FROM {dataset} WHERE event_time BETWEEN make_timestamptz(?) AND make_timestamptz(?)"
            f' AND "{ticker}" IN (SELECT DISTINCT ticker FROM wanted)'
            f") USING (instrument, key)"
        )
        try:
            rows = connection.execute(query, [low - MARGIN_US, high + MARGIN_US])
            found = rows.fetchnumpy()["i"]
        except duckdb.Error as error:
            raise file_fault(dataset, error) from error
        finally:
            connection.unregister("wanted")
        mask = np.zeros(len(keys), np.bool_)
        mask[found.astype(np.int64)] = True
        return mask

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None
