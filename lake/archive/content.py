"""What rows say, in four numbers that add up: the ledger's, for every dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, Self

import pyarrow as pa

from lake import ledger
from lake.contracts.contract import load
from lake.in_memory import in_memory

SCALE = Decimal(10) ** 10
_WIDE = Context(prec=80)


@dataclass(frozen=True, slots=True)
class Content:
    """Rows, exact sums and digest of a set of rows; those of disjoint sets add up."""

    rows: int = 0
    sum_a: Decimal = Decimal(0)
    sum_b: Decimal = Decimal(0)
    digest: int = 0

    @classmethod
    def read(cls, values: Sequence[Any]) -> Self:
        """Read (rows, sum_a, sum_b, digest) as an engine returns them."""
        rows, sum_a, sum_b, digest = values
        return cls(int(rows), Decimal(sum_a), Decimal(sum_b), int(digest))

    def __add__(self, other: Content) -> Content:
        return Content(
            self.rows + other.rows,
            _WIDE.add(self.sum_a, other.sum_a),
            _WIDE.add(self.sum_b, other.sum_b),
            self.digest + other.digest,
        )

    def __sub__(self, other: Content) -> Content:
        return Content(
            self.rows - other.rows,
            _WIDE.subtract(self.sum_a, other.sum_a),
            _WIDE.subtract(self.sum_b, other.sum_b),
            self.digest - other.digest,
        )


def content_of(dataset: str, rows: pa.Table) -> Content:
    """Compute the content of rows in contract order."""
    with in_memory() as calculator:
        calculator.register("counted_rows", rows)
        row = calculator.execute(f"SELECT {sums_sql(dataset)} FROM counted_rows").fetchone()
    assert row is not None
    return Content.read(row)


def sums_sql(dataset: str) -> str:
    """Return the select list rows, sum_a, sum_b, digest; of no rows, 0.

    What flows write has no ledger: its digest is over the texts of all columns, its sums are 0.
    """
    if dataset in ledger.MEASURES:
        return ledger.sums_sql(dataset, "duckdb")
    texts = ", ".join(f"coalesce(\"{name}\"::VARCHAR, '~')" for name in load(dataset).names)
    part = f"md5_number(concat_ws('|', {texts})) & 18446744073709551615::UHUGEINT"
    return f"count(*), 0, 0, CAST(coalesce(sum(CAST({part} AS UBIGINT)), 0) AS DECIMAL(38, 0))"
