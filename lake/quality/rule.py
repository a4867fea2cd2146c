"""A rule of quality, and what a run says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["contract", "market", "model", "schema"]
Severity = Literal["error", "warning"]

ROWS_NAMED_MAX = 1_000
"""Rows at fault that a result names; it counts them all."""


@dataclass(frozen=True, slots=True)
class QualityRule:
    """What is asked of a dataset's rows, and what to do when some are at fault.

    An error says that rows are wrong; a warning that they are unusual: a crash is one, and stays.
    version: of the contract or the model that asks.
    """

    dataset: str
    name: str
    kind: Kind
    dimension: str
    severity: Severity
    meaning: str
    remedy: str
    version: str


@dataclass(frozen=True, slots=True)
class Result:
    """What one run says of one rule.

    rows: the first ROWS_NAMED_MAX at fault, with key and values. from_us, to_us: event times of
    the rows checked, inclusive, in microseconds since the epoch; None where nothing has one.
    """

    rule: QualityRule
    checked: int
    failed: int
    rows: Sequence[Mapping[str, Any]] = ()
    from_us: int | None = None
    to_us: int | None = None

    @property
    def holds(self) -> bool:
        """Tell whether no row is at fault."""
        return not self.failed

    def line(self) -> str:
        """Return it in words."""
        rule = self.rule
        if self.holds:
            return f"passed   {rule.dataset}.{rule.name}: {self.checked:,} rows"
        first = row_text(self.rows[0]) if self.rows else ""
        return (
            f"{rule.severity:8} {rule.dataset}.{rule.name}: {self.failed:,} of {self.checked:,}"
            f" rows: {rule.meaning} First: {first}".rstrip()
        )


def row_text(row: Mapping[str, Any]) -> str:
    """Return a row at fault in one line; what is null is left out."""
    return " ".join(f"{name}={value}" for name, value in row.items() if value is not None)
