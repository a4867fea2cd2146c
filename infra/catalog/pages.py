"""What the catalog's pages show, as plain values for their templates; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from infra.catalog.facts import Check, Facts
from infra.catalog.words import bytes_text, duration_text
from lake.contracts import data_dictionary
from lake.contracts.contract import Column, Contract
from lake.contracts.retention import TIERS
from lake.lineage.graph import Graph, dataset_of

HISTORY_SLOTS = 48
"""Little bars of a quality history: each a stretch of what there is, oldest first."""


@dataclass(frozen=True, slots=True)
class Badge:
    """A word with a meaning: good, bad, or plain."""

    word: str
    mood: str = "plain"


@dataclass(frozen=True, slots=True)
class Slot:
    """One little bar of a quality history: share of rules that held, and what to read of it."""

    share: float
    meaning: str


@dataclass(frozen=True, slots=True)
class ColumnRow:
    """A column as its table shows it; made: what it is made of, used: how many are made of it."""

    column: Column
    is_key: bool
    made: Sequence[tuple[str, str]]
    how: str
    used: int


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule of the contract, and its last result where there is one."""

    name: str
    dimension: str
    description: str
    last: Badge
    at: datetime | None


def freshness(contract: Contract, facts: Facts) -> Badge:
    """Return how old the newest row is, held against what the contract promises."""
    if facts.lag_s is None:
        return Badge("no rows" if not facts.missing else "unknown")
    age = duration_text(max(0.0, facts.lag_s))
    if contract.freshness_minutes is None:
        return Badge(age)
    return Badge(age, "good" if facts.lag_s <= contract.freshness_minutes * 60 else "bad")


def quality(facts: Facts) -> Badge:
    """Return how many rules held when each was last asked."""
    last: dict[str, Check] = {}
    for check in facts.checks:  # newest first
        last.setdefault(check.rule, check)
    if not last:
        return Badge("not checked")
    held = sum(check.passed for check in last.values())
    wrong = any(not check.passed and check.severity == "error" for check in last.values())
    return Badge(f"{held} of {len(last)} hold", "bad" if wrong else "good")


def history(facts: Facts) -> list[Slot]:
    """Return the quality history in HISTORY_SLOTS stretches at most, oldest first."""
    rounds: defaultdict[datetime, list[Check]] = defaultdict(list)
    for check in facts.checks:
        rounds[check.at].append(check)
    slots = []
    for at in sorted(rounds)[-HISTORY_SLOTS:]:
        failed = sorted(check.rule for check in rounds[at] if not check.passed)
        share = 1 - len(failed) / len(rounds[at])
        words = ", ".join(failed) or "all hold"
        slots.append(Slot(share, f"{at:%Y-%m-%d %H:%M} UTC: {words}"))
    return slots


def rules(contract: Contract, facts: Facts) -> list[RuleRow]:
    """Return the contract's rules, and after them those that other checks asked."""
    last: dict[str, Check] = {}
    for check in facts.checks:
        last.setdefault(check.rule, check)
    rows = [
        RuleRow(rule.name, rule.dimension, rule.description, *_result(last.get(rule.name)))
        for rule in contract.rules
    ]
    known = {rule.name for rule in contract.rules}
    return [
        *rows,
        *(RuleRow(n, "", "", *_result(c)) for n, c in sorted(last.items()) if n not in known),
    ]


def _result(check: Check | None) -> tuple[Badge, datetime | None]:
    if check is None:
        return Badge("not checked"), None
    if check.passed:
        return Badge("holds", "good"), check.at
    mood = "bad" if check.severity == "error" else "odd"
    return Badge(f"{check.rows_failed:,} rows at fault", mood), check.at


def columns(contract: Contract, graph: Graph) -> list[ColumnRow]:
    """Return the columns with what each is made of: (dataset, column) pairs."""
    rows = []
    for column in contract.columns:
        name = f"{contract.name}.{column.name}"
        sources = dict.fromkeys(edge.source for edge in graph.sources(name))
        made = [(dataset_of(each), each.rpartition(".")[2]) for each in sources]
        used = len({edge.target for edge in graph.uses(name)})
        is_key = column.name in contract.key
        rows.append(ColumnRow(column, is_key, made, column.transform, used))
    return rows


def kept(contract: Contract) -> list[tuple[str, str]]:
    """Return each tier and how long a row stays in it."""
    return [(tier, data_dictionary.kept(contract, tier)) for tier in TIERS]


def size(facts: Facts) -> list[tuple[str, str]]:
    """Return what is known of a dataset's size, as (what, how much)."""
    found = []
    if facts.lake is not None:
        found += [
            ("rows in the lake", f"{facts.lake.rows:,}"),
            ("lake", f"{bytes_text(facts.lake.bytes)} in {facts.lake.files:,} files"),
            ("snapshots", f"{facts.lake.snapshots:,}"),
        ]
    if facts.hot_bytes is not None:
        found.append(("hot tier", bytes_text(facts.hot_bytes)))
    return found


def search_index(
    contracts: Sequence[Contract], statements: Sequence[tuple[str, str]]
) -> list[Mapping[str, str]]:
    """Return what the search looks through: datasets, columns, rules, statements."""
    found = []
    for contract in contracts:
        page = f"datasets/{contract.name}.html"
        found.append(_entry("dataset", contract.name, contract.description, page))
        found += [
            _entry("column", f"{contract.name}.{c.name}", c.meaning, f"{page}#{c.name}")
            for c in contract.columns
        ]
        found += [
            _entry("rule", f"{contract.name}: {r.name}", r.description, f"{page}#rules")
            for r in contract.rules
        ]
    found += [
        _entry("statement", name, title, f"statements.html#{name}") for name, title in statements
    ]
    return found


def _entry(kind: str, name: str, text: str, page: str) -> Mapping[str, str]:
    return {"kind": kind, "name": name, "text": text, "page": page}
