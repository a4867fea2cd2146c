"""The ledger's four numbers of a set of rows, exact, as integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, Self

SCALE = 10
"""Decimals of the ledger's sums."""

_WIDE = Context(prec=80)


@dataclass(frozen=True, slots=True)
class Totals:
    """Rows, sums (in units of 1e-10) and digest; they add up over disjoint sets of rows."""

    rows: int = 0
    sum_a: int = 0
    sum_b: int = 0
    digest: int = 0

    @classmethod
    def read(cls, values: Sequence[Any]) -> Self:
        """Read (rows, sum_a, sum_b, digest) as an engine returns them."""
        rows, sum_a, sum_b, digest = values
        return cls(int(rows), _scaled(sum_a), _scaled(sum_b), int(digest))

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.rows + other.rows,
            self.sum_a + other.sum_a,
            self.sum_b + other.sum_b,
            self.digest + other.digest,
        )

    def __sub__(self, other: Totals) -> Totals:
        return Totals(
            self.rows - other.rows,
            self.sum_a - other.sum_a,
            self.sum_b - other.sum_b,
            self.digest - other.digest,
        )

    def texts(self) -> tuple[int, str, str, str]:
        """Return the values for columns bigint, numeric(38,10), numeric(38,10), numeric(38,0)."""
        return self.rows, _text(self.sum_a), _text(self.sum_b), str(self.digest)


def _scaled(value: Decimal | int) -> int:
    return int(Decimal(value).scaleb(SCALE, _WIDE))


def _text(scaled: int) -> str:
    return format(Decimal(scaled).scaleb(-SCALE, _WIDE), "f")
