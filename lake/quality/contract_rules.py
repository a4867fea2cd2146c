"""The rules that a contract holds, as conditions of rows.

A batch is judged by its patterns: each combination there is of columns that are null and rules
that are broken, with the number of its rows. Good data has one, so whoever judges (Great
Expectations) sees a handful of rows however many there are, and says the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lake.contracts.contract import Contract
from lake.contracts.rule_forms import once, row_fault
from lake.quality.rule import QualityRule

RULE_PREFIX = "rule: "
"""Columns of patterns that tell whether a rule holds; the others are the contract's."""

NOT_NULL = "not_null."
"""Begins the names of rules that ask for a value; the column follows."""

ROWS = "rows_alike"
"""Column of patterns: rows that have this one."""


@dataclass(frozen=True, slots=True)
class RowRule:
    """A rule about single rows: fault is the SQL condition of those that break it."""

    rule: QualityRule
    fault: str


@dataclass(frozen=True, slots=True)
class OnceRule:
    """A rule that a key comes once: its columns, and the condition of the rows that have one."""

    rule: QualityRule
    by: str
    where: str


def row_rules(contract: Contract) -> list[RowRule]:
    """Return the rules about single rows: what must not be null, then the contract's own."""
    required = (column.name for column in contract.columns if column.required)
    rules = [
        RowRule(
            _rule(contract, NOT_NULL + name, "completeness", f"{name} has a value."),
            f'"{name}" IS NULL',
        )
        for name in required
    ]
    for rule in contract.rules:
        if (fault := row_fault(rule)) is not None:
            made = _rule(contract, rule.name, rule.dimension, rule.description)
            rules.append(RowRule(made, fault))
    return rules


def once_rules(contract: Contract) -> list[OnceRule]:
    """Return the rules that a key comes once."""
    return [
        OnceRule(
            _rule(contract, rule.name, rule.dimension, rule.description),
            found.by,
            found.where,
        )
        for rule in contract.rules
        if (found := once(rule)) is not None
    ]


def patterns_sql(contract: Contract, relation: str, doubled: Sequence[tuple[str, str]]) -> str:
    """Select the patterns of a relation, with their rows.

    doubled: of each rule that a key comes once, its name and a condition that is true for a row
    whose key comes again.
    """
    flags = ", ".join(_flags(contract, doubled))
    return f"SELECT {flags}, count(*) AS {ROWS} FROM {relation} GROUP BY ALL"


def _flags(contract: Contract, doubled: Sequence[tuple[str, str]]) -> Iterator[str]:
    for column in contract.columns:
        if column.required:
            yield f'CASE WHEN "{column.name}" IS NOT NULL THEN 1 END AS "{column.name}"'
    for each in row_rules(contract):
        if not each.rule.name.startswith(NOT_NULL):
            yield f'NOT coalesce({each.fault}, false) AS "{RULE_PREFIX}{each.rule.name}"'
    for name, fault in doubled:
        yield f'NOT ({fault}) AS "{RULE_PREFIX}{name}"'


def _rule(contract: Contract, name: str, dimension: str, meaning: str) -> QualityRule:
    return QualityRule(
        contract.name,
        name,
        "contract",
        dimension,
        "error",
        meaning,
        "look where they come from: what the feed sent, or a decoder; a correction is a new row",
        contract.version,
    )
