"""Bars with the reference's of the same bucket beside them, as SQL: for batch and live alike."""

from __future__ import annotations

import pyarrow as pa

from lake.bars.kernel import KEY
from lake.features.pairs import PAIR, REFERENCE
from lake.in_memory import ARROW_ROWS, in_memory

REFERENCE_SQL = rf"regexp_replace({{0}}, '{PAIR}', 'X:{REFERENCE}\2\3')"
"""The reference's ticker in the same currency, of a column; a ticker's own in an unknown one."""


def common_bars(relation: str) -> str:
    """Select bars of a relation of bars that the reference has too, with its reference_close.

    received_time: when the later of both was there. The reference itself has none.
    """
    own = REFERENCE_SQL.format("b.ticker")
    return f"""
        SELECT b.* REPLACE (greatest(b.received_time, r.received_time) AS received_time),
            r."close" AS reference_close
        FROM {relation} AS b JOIN {relation} AS r ON r.ticker = {own}
            AND r.exchange = b.exchange AND r.market = b.market
            AND r."interval" = b."interval" AND r.event_time = b.event_time
        WHERE b.ticker <> r.ticker"""


def with_reference(bars: pa.Table) -> pa.Table:
    """Return the common bars of a table of bars, by series and time; the live path's way in."""
    with in_memory() as connection:
        connection.register("bars_given", bars)
        order = ", ".join(f'"{name}"' for name in KEY)
        return connection.execute(
            f"FROM ({common_bars('bars_given')}) ORDER BY {order}"
        ).to_arrow_table(ARROW_ROWS)
