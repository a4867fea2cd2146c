"""What models saw live against the lake, bit for bit: a sample of predictions, for an audit.

A prediction that was made as a minute closed keeps the very vector that it was made of, with the
key of its row of features: series, event time, and when the row was known. Once the lake's batch
has made that row, each of the vector's numbers is to have its bits. Left out, and counted, is what
the lake does not have yet, and what a late tick has corrected since: that is known later, so it is
another row. What was degraded was no vector, so nothing was said of it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa

from feature_repo.feature_set import MARKET
from feature_repo.models.predictions import DATASET
from feature_repo.store.views import SERIES
from lake.contracts.contract import load
from lake.quality.rule import ROWS_NAMED_MAX, QualityRule, Result
from lake.views.client import Client

REACH_US = 3_600_000_000
"""How long ago a vector was made at most."""

SAMPLE_MAX = 5_000
"""Predictions that one run looks at."""

REMEDY = "the speed layer has other trades than the lake: see its log, and `ticklake verify`"

RULE = QualityRule(
    dataset=DATASET,
    name="live_vectors_equal_lake",
    kind="model",
    dimension="consistency",
    severity="error",
    meaning="The vector of a live prediction is the lake's row of features, bit for bit.",
    remedy=REMEDY,
    version=load(DATASET).version,
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Compared:
    """What became of the predictions looked at: judged, ahead of the lake, corrected since."""

    result: Result
    ahead: int = 0
    corrected: int = 0

    def line(self) -> str:
        """Return it in words."""
        said = f"{self.result.checked:,} live vectors, {self.result.failed:,} differ"
        left = {"ahead of the lake": self.ahead, "corrected since": self.corrected}
        return ", ".join([said, *(f"{n:,} {why}" for why, n in left.items() if n)])


def compare_live(client: Client, now_us: int, sample_max: int = SAMPLE_MAX) -> Compared:
    """Compare live predictions of the last hour, sample_max by chance, with the lake's features."""
    client.refresh()
    if MARKET.dataset not in client.snapshots:
        return Compared(Result(RULE, 0, 0))
    within = (
        "source = 'live' AND features_recorded_time"
        f" BETWEEN make_timestamptz({now_us - REACH_US}) AND make_timestamptz({now_us})"
    )
    (ends,) = client.arrow(
        "SELECT epoch_us(min(event_time)) AS first, epoch_us(max(event_time)) AS last"
        f" FROM {DATASET} WHERE {within}"
    ).to_pylist()
    if ends["first"] is None:
        return Compared(Result(RULE, 0, 0))
    rows = client.arrow(_joined(within, ends["first"], sample_max))
    return _judged(rows, ends["first"], ends["last"])


def _joined(within: str, first_us: int, sample_max: int) -> str:
    """Select predictions, each with the lake's rows of its key, and with what else it has there.

    newest_time: of the series; known_time: when what the lake has of that bar was known last.
    """
    keys = ", ".join(f'"{name}"' for name in SERIES)
    columns = ", ".join(f'f."{name}"' for name in MARKET.names)
    same = " AND ".join(f'said."{name}" = f."{name}"' for name in (*SERIES, "event_time"))
    return (
        "WITH said AS MATERIALIZED (SELECT row_no, model, model_version, event_time,"
        # a sample is drawn before its own WHERE
        f" features_time, features, {keys} FROM (SELECT * FROM {DATASET} WHERE {within})"
        f" USING SAMPLE reservoir({sample_max} ROWS)),"
        f" made AS (SELECT f.* FROM {MARKET.dataset} AS f SEMI JOIN said USING ({keys})"
        f" WHERE set_version = {MARKET.version} AND f.event_time >= make_timestamptz({first_us})),"
        f" newest AS (SELECT {keys}, max(event_time) AS newest_time FROM made GROUP BY ALL),"
        f" known AS (SELECT {keys}, event_time, max(available_time) AS known_time FROM made"
        " GROUP BY ALL)"
        " SELECT said.*, newest_time, known_time, f.recorded_time IS NOT NULL AS is_there,"
        f" {columns} FROM said LEFT JOIN newest USING ({keys})"
        f" LEFT JOIN known USING ({keys}, event_time) LEFT JOIN made AS f"
        f" ON {same} AND said.features_time = f.available_time"
        " ORDER BY row_no, f.recorded_time"
    )


def _judged(rows: pa.Table, first_us: int, last_us: int) -> Compared:
    """Judge each prediction by what the lake has of it; of several rows of a key one is enough."""
    ahead = corrected = checked = 0
    faults: list[Row] = []
    by_row: dict[int, list[Row]] = {}
    for row in rows.to_pylist():
        by_row.setdefault(row["row_no"], []).append(row)
    for held in by_row.values():
        said = held[0]
        if not said["is_there"]:
            if said["newest_time"] is None or said["newest_time"] < said["event_time"]:
                ahead += 1
                continue
            if said["known_time"] is not None and said["known_time"] > said["features_time"]:
                corrected += 1
                continue
        checked += 1
        fault = _fault(held)
        if fault:
            faults.append(_named(said, fault))
    named = faults[:ROWS_NAMED_MAX]
    result = Result(RULE, checked, len(faults), named, first_us, last_us)
    return Compared(result, ahead, corrected)


def _fault(held: list[Row]) -> str:
    """Return what is wrong with a prediction, given with each row of its key; "" for nothing."""
    said = held[0]
    if not said["is_there"]:
        if said["known_time"] is None:
            return "the lake has no such row"
        return f"the lake's row was known at {said['known_time'].isoformat()} already"
    vector = orjson.loads(said["features"])
    differs = [[name for name in vector if not _is_same(vector, row, name)] for row in held]
    fewest = min(differs, key=len)
    return f"other bits in {', '.join(fewest)}" if fewest else ""


def _is_same(vector: Mapping[str, Any], row: Mapping[str, Any], name: str) -> bool:
    """Tell whether a number of a vector has the bits of the row's; of a window its newest."""
    said, made = vector[name], row.get(name)
    newest = said[-1] if isinstance(said, list) else said
    if newest is None or made is None:
        return False
    return struct.pack("<d", newest) == struct.pack("<d", made)


def _named(said: Row, fault: str) -> Row:
    return {
        **{name: said[name] for name in ("row_no", "model", "model_version", *SERIES)},
        "event_time": said["event_time"],
        "features_time": said["features_time"],
        "fault": fault,
    }
