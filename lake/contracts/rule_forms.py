"""The two forms that a contract's rules have: about single rows, and that a key comes once."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lake.contracts.contract import Rule

_ROW = re.compile(r"SELECT count\(\*\) FROM \$\{object\} WHERE (?P<fault>.+)")
_GROUP = re.compile(
    r"SELECT count\(\*\) FROM \(SELECT 1 FROM \$\{object\}(?: WHERE (?P<where>.+?))?"
    r" GROUP BY (?P<by>.+) HAVING count\(\*\) > 1\) AS \w+"
)


@dataclass(frozen=True, slots=True)
class Once:
    """A key's columns, and the condition of the rows that have one."""

    by: str
    where: str


def row_fault(rule: Rule) -> str | None:
    """Return the condition of rows that break a rule about single rows; None for another rule."""
    found = _ROW.fullmatch(rule.query)
    return found["fault"] if found else None


def once(rule: Rule) -> Once | None:
    """Return the key that a rule wants to come once; None for another rule."""
    found = _GROUP.fullmatch(rule.query)
    return Once(found["by"], found["where"] or "true") if found else None
