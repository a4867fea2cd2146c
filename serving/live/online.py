"""Features of closed minutes to the online store, in Feast's format, as soon as they are made.

What is pushed is newer than what the flow of every five minutes writes, and is written over nothing
newer, with the time when it was known. It may be lost: the flow writes what the lake has, over what
was pushed of the same time too. So the audit of what is served judges no push; what a worker
computed is judged by the vectors of live predictions (flows.live_to_quality).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.feature_set import FeatureSet
from feature_repo.store.served import US, Served
from feature_repo.store.views import SERIES, VIEWS, View
from lake.closes import Closes
from lake.errors import Unavailable
from serving.live.told import KNOWN

LOG = logging.getLogger("ticklake.live")


class Online(Closes):
    """One worker's way to the online store; one thread uses it. A context manager."""

    def __init__(self, url: str, features: FeatureSet, views: Sequence[View] = VIEWS) -> None:
        self._served = Served(url)
        self._views = [each for each in views if each.of == features]

    def close(self) -> None:
        """Close the connection."""
        self._served.close()

    def push(self, rows: pa.Table, now_us: int) -> int:
        """Write the newest row of each series to every view of the set; return how many.

        rows: as of a worker's round. One over a drop is left to the flow. A store that is away is
        said in the log: the next minute's rows are newer.
        """
        newest = with_known(newest_whole(rows))
        try:
            return sum(
                self._served.write(newest.select(_columns(each.columns)), each, now_us).written
                for each in self._views
            )
        except Unavailable as error:
            LOG.warning("online store: %s", error)
            return 0


def newest_whole(rows: pa.Table) -> pa.Table:
    """Return the newest row of each series that rests on no drop."""
    whole = rows.filter(pc.equal(pc.list_value_length(rows["degraded"]), 0))
    ordered = whole.sort_by([(name, "ascending") for name in (*SERIES, "event_time")])
    last = {key: n for n, key in enumerate(zip(*_texts(ordered), strict=True))}
    return ordered.take(pa.array(last.values(), pa.int64()))


def with_known(rows: pa.Table) -> pa.Table:
    """Return rows with the time from when on they are known as available_time."""
    known = [rows[name] for name in KNOWN if name in rows.column_names]
    found = pc.coalesce(*known) if known else pa.nulls(rows.num_rows, US)
    return rows.select([n for n in rows.column_names if n not in KNOWN]).append_column(
        "available_time", found
    )


def _texts(rows: pa.Table) -> Sequence[list[str]]:
    return [rows[name].to_pylist() for name in SERIES]


def _columns(features: Sequence[str]) -> list[str]:
    return [*SERIES, "event_time", "available_time", *features]
