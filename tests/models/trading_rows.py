"""Training rows with a known truth: one feature says a little of what comes, the others nothing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

MINUTE_US = 60_000_000
FEATURES = ("rsi_14", "noise_a", "noise_b")
REACH = 5
"""Minutes that a label looks ahead."""


def training_rows(count: int = 3_000, seed: int = 7, strength: float = 0.8) -> pa.Table:
    chance = np.random.default_rng(seed)
    told, a, b = chance.normal(size=(3, count))
    value = (strength * told + chance.normal(size=count)) / 1_000
    event = np.arange(1, count + 1) * MINUTE_US
    end = event + REACH * MINUTE_US
    times = {
        "event_time": event,
        "available_time": event + 1_000_000,
        "label_end_time": end,
        "label_available_time": end + 1_000_000,
    }
    side = np.where(np.abs(value) < 2e-4, 0, np.sign(value)).astype(np.int16)
    return pa.table(
        {name: pa.array(us, pa.timestamp("us", "UTC")) for name, us in times.items()}
        | {"label_value": value, "label_side": side}
        | dict(zip(FEATURES, (told, a, b), strict=True))
    )


def changed(table: pa.Table, name: str, values: object) -> pa.Table:
    column = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)
    return table.set_column(table.column_names.index(name), name, column)
