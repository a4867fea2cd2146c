"""Hold an answer of a history against what is stored: what differs is for quarantine, with both.

Only what hot tier and lake hold by now is looked at. A row that is journalled and not yet written
is known by its key later on, as redelivered, and its content is then not compared.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.closes import Closes
from lake.feeds.history import contradiction
from lake.ingest.stored_keys import MARGIN_US
from lake.views.client import Client
from lake.views.engine import file_fault
from lake.warehouse import Warehouse

KEYS: Mapping[str, tuple[str, ...]] = {
    "crypto_trades": ("ticker", "exchange", "market", "trade_id"),
    "crypto_quotes": ("ticker", "exchange", "market", "venue_sequence"),
    "crypto_aggregates": ("ticker", "exchange", "market", "interval", "event_time"),
    "market_sentiment": ("asset", "source", "event_time"),
}

SAID: Mapping[str, tuple[str, ...]] = {
    "crypto_trades": ("price", "size", "side"),
    "crypto_quotes": ("bid_price", "bid_size", "ask_price", "ask_size"),
    "crypto_aggregates": ("open", "high", "low", "close", "volume"),
    "market_sentiment": ("sentiment_score", "confidence"),
}
"""What must be the same where both say it; vwap and means are a venue's own arithmetic."""

TIME_US_MAX = 1_000
"""A venue's history may spell a time more coarsely than its socket: in milliseconds."""

NOTES_MAX = 1_000
"""Contradictions written down one by one per page; of more, so many are, and the rest counted."""


class Held(Closes):
    """What is stored, for comparison; a context manager."""

    def __init__(self, dsn: str, warehouse: Warehouse) -> None:
        self._client = Client(dsn, warehouse)

    def split(self, dataset: str, rows: pa.Table, of: str) -> tuple[pa.Table, list[bytes]]:
        """Return the rows that contradict nothing, and a frame for each of the others.

        Rows that are held already and the same are among the first: their keys are known.
        """
        if not rows.num_rows:
            return rows, []
        found = self._differing(dataset, rows)
        if not found.num_rows:
            return rows, []
        differ = np.unique(found["i"].to_numpy())
        rest = np.ones(rows.num_rows, np.bool_)
        rest[differ] = False
        names = [*KEYS[dataset], *SAID[dataset], "event_time"]
        shown = list(dict.fromkeys(names))
        answers = rows.select(shown).take(pa.array(differ[:NOTES_MAX])).to_pylist()
        helds = {row.pop("i"): row for row in found.to_pylist()}
        notes = [
            contradiction(of, answer, helds[i])
            for i, answer in zip(differ[:NOTES_MAX].tolist(), answers, strict=True)
        ]
        return rows.filter(pa.array(rest)), notes

    def has_any(self, dataset: str, rows: pa.Table, condition: str) -> bool:
        """Tell whether rows of these instruments and this time are held for which an SQL holds."""
        self._client.refresh()
        connection = self._client.duckdb
        bounds = pc.min_max(rows["event_time"].cast(pa.int64()))
        names = [name for name in KEYS[dataset][:3] if name != "event_time"]
        connection.register("asked", rows.select(names))
        try:
            found = connection.execute(
                f"SELECT count(*) FROM (SELECT 1 FROM {dataset} SEMI JOIN asked"
                f" USING ({', '.join(names)}) WHERE {condition} AND event_time BETWEEN"
                " make_timestamptz(?) AND make_timestamptz(?) LIMIT 1)",
                [bounds["min"].as_py(), bounds["max"].as_py()],
            ).fetchone()
        except duckdb.Error as error:
            raise file_fault(dataset, error) from error
        finally:
            connection.unregister("asked")
        return bool(found and found[0])

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _differing(self, dataset: str, rows: pa.Table) -> pa.Table:
        """Return i (place in rows) and what is held, of the rows that contradict it."""
        self._client.refresh()
        connection = self._client.duckdb
        asked = rows.append_column("i", pa.array(np.arange(rows.num_rows)))
        bounds = pc.min_max(rows["event_time"].cast(pa.int64()))
        low_us = bounds["min"].as_py() - MARGIN_US
        high_us = bounds["max"].as_py() + MARGIN_US
        connection.register("asked", asked)
        try:
            return connection.execute(_query(dataset), [low_us, high_us]).to_arrow_table()
        except duckdb.Error as error:
            raise file_fault(dataset, error) from error
        finally:
            connection.unregister("asked")


def _query(dataset: str) -> str:
    keys, said = KEYS[dataset], SAID[dataset]
    same = " AND ".join(f'a."{name}" = h."{name}"' for name in keys)
    differs = " OR ".join(f'a."{name}" <> h."{name}"' for name in said)
    shown = ", ".join(f'h."{name}"' for name in dict.fromkeys((*keys, *said, "event_time")))
    first = keys[0]
    return (
        f"SELECT a.i, {shown} FROM asked AS a JOIN {dataset} AS h ON {same}"
        " WHERE h.event_time BETWEEN make_timestamptz(?) AND make_timestamptz(?)"
        f' AND h."{first}" IN (SELECT DISTINCT "{first}" FROM asked)'
        f" AND ({differs} OR abs(epoch_us(a.event_time) - epoch_us(h.event_time)) >= {TIME_US_MAX})"
    )
