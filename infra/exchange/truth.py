"""The log of every trade and quote sent, for an oracle: an Arrow IPC stream, a batch per tick."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from infra.exchange.ticks import TickRows
from lake.closes import Closes

SCHEMA = pa.schema(
    [
        ("trade", pa.bool_()),
        ("pair", pa.int16()),
        ("venue", pa.int8()),
        ("trade_id", pa.int64()),
        ("time_ms", pa.int64()),
        ("price", pa.int64()),
        ("size", pa.int64()),
        ("sent_us", pa.int64()),
    ]
)
"""pair and venue are indices into the exchange's pairs and venues; trade_id is 0 for quotes; price
and size, of quotes the bid's, are in PRICE_UNITS and SIZE_UNITS.
"""


class TruthLog(Closes):
    """Append ticks as they are sent."""

    def __init__(self, path: Path) -> None:
        self._writer = pa.ipc.new_stream(str(path), SCHEMA)

    def add(self, rows: TickRows, sent_us: int) -> None:
        """Log the events of a tick."""
        columns = [rows.trade, rows.pair, rows.venue, rows.trade_id, rows.time_ms]
        columns += [rows.price, rows.size, np.full(len(rows), sent_us)]
        arrays = [
            pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)
        ]
        self._writer.write_batch(pa.record_batch(arrays, schema=SCHEMA))

    def close(self) -> None:
        """End the stream."""
        self._writer.close()
