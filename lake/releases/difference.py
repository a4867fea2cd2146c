"""What two releases differ in: rows of the one that are not in the other."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from lake.releases.release import RELEASED_DATASETS
from lake.views.client import Client
from lake.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows that are in one release only; one that lacks the dataset has none of it."""

    dataset: str
    only_one: int
    only_other: int


def difference(dsn: str, warehouse: Warehouse, one: str, other: str) -> list[Difference]:
    """Return the difference of each dataset, whole rows compared; WrongUse for unknown names."""
    with (
        Client(dsn, warehouse, release=one) as first,
        Client(dsn, warehouse, release=other) as second,
    ):
        return [_of(dataset, first, second) for dataset in RELEASED_DATASETS]


def _of(dataset: str, first: Client, second: Client) -> Difference:
    rows = [_rows(dataset, client) for client in (first, second)]
    with_both = first.duckdb.cursor()
    with_both.register("rows_of_one", rows[0])
    with_both.register("rows_of_other", rows[1])
    counts = [
        with_both.execute(f"SELECT count(*) FROM (FROM {a} EXCEPT ALL FROM {b})").fetchone()
        for a, b in (("rows_of_one", "rows_of_other"), ("rows_of_other", "rows_of_one"))
    ]
    only = [int(found[0]) if found else 0 for found in counts]
    return Difference(dataset, *only)


def _rows(dataset: str, client: Client) -> pa.Table:
    return client.arrow(f"FROM lake.{dataset}")
