"""The bars that live bars are made of: those that a late trade may still change, in a table."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from lake.bars.changes import COLUMN_LIST, KEY_LIST
from lake.bars.kernel import DAY_US, KEY, MINUTE_US, WIDTHS_US

LATE_US = 3_600_000_000
"""A trade may be as late as this; the bars of what is later stay as they are, and are counted."""

KEPT_US = {
    "1s": LATE_US + MINUTE_US,
    "1m": LATE_US + WIDTHS_US["5m"],
    "5m": LATE_US + WIDTHS_US["1h"],
    "1h": LATE_US + DAY_US,
    "1d": LATE_US + DAY_US,
}
"""How long a bar is held: until no late trade can make the next longer one of it any more."""

ANEW_US = 10 * MINUTE_US
"""How often what is too old is let go: that copies all that is held, a quarter of a second of 100
instruments that trade every second."""

ROWS_HELD_MAX = 5_000_000
"""Bars held; some 1,000 instruments that trade every second."""


def hold(
    connection: duckdb.DuckDBPyConnection, put: pa.Table, drop: pa.Table, anew_us: int | None
) -> None:
    """Take bars out of the table `held`, by their keys, and put bars into it.

    anew_us: make the table anew, without what is too old by then; None: leave that.
    """
    connection.register("bars_put", put)
    connection.register("bars_drop", drop)
    if anew_us is None:
        if drop.num_rows:
            same = " AND ".join(f'held."{name}" = bars_drop."{name}"' for name in KEY)
            connection.execute(f"DELETE FROM held USING bars_drop WHERE {same}")
        connection.execute(f"INSERT INTO held SELECT {COLUMN_LIST} FROM bars_put")
        return
    kept = " OR ".join(
        f"(\"interval\" = '{name}' AND epoch_us(event_time) >= {anew_us - kept_us})"
        for name, kept_us in KEPT_US.items()
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE held AS SELECT {COLUMN_LIST} FROM"
        f" (FROM held ANTI JOIN bars_drop USING ({KEY_LIST}) UNION ALL FROM bars_put)"
        f" WHERE {kept} LIMIT {ROWS_HELD_MAX}"
    )
