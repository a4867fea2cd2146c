"""Look at bars before anybody can read them: the contract's own rules, on the rows to publish."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from lake.contracts.contract import Rule, load
from lake.contracts.rule_forms import once, row_fault
from lake.errors import Damaged
from lake.in_memory import in_memory

ROWS_SHOWN_MAX = 3


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong with a batch: a sentence a rule, the rows at fault, and the rest of it.

    Of a rule that a key comes once, all rows of a key that comes again are at fault. Where a rule
    that is broken has neither form, nobody knows its rows: the rest is empty.
    """

    said: tuple[str, ...]
    rows: pa.Table
    rest: pa.Table


def audit(dataset: str, rows: pa.Table) -> None:
    """Raise Damaged, with rule and rows, when rows break a rule of their dataset's contract."""
    faults = faults_in(dataset, rows)
    if faults.said:
        raise Damaged(
            f"lake.{dataset}",
            "; ".join(faults.said),
            "nothing was published; correct the rows they come from, then run it again",
        )


def faults_in(dataset: str, rows: pa.Table) -> Faults:
    """Return what the contract's rules say of a batch."""
    key = ", ".join(f'"{name}"' for name in load(dataset).key)
    said = []
    at_fault = []
    with in_memory() as connection:
        connection.register("batch", rows)
        for rule in load(dataset).rules:
            found = connection.execute(rule.query.replace("${object}", "batch")).fetchone()
            assert found is not None
            if not found[0]:
                continue
            where = _at_fault(rule)
            at_fault.append(where)
            shown = _shown(connection, key, where) if where else ""
            said.append(f"{found[0]:,} rows break {rule.name} ({rule.description}) {shown}".strip())
        known = [each for each in at_fault if each]
        where = f"({' OR '.join(known)})" if known else "false"
        wrong, right = (
            connection.execute(f"{_marked(where)} WHERE {each} ORDER BY {key}").to_arrow_table()
            for each in ("at_fault", "NOT at_fault")
        )
    if "" in at_fault:
        right = right.slice(0, 0)
    return Faults(tuple(said), wrong.cast(rows.schema), right.cast(rows.schema))


def _at_fault(rule: Rule) -> str:
    """Return the condition of the rows that break a rule; "" where its form does not say."""
    if (fault := row_fault(rule)) is not None:
        return f"coalesce({fault}, false)"
    if (key := once(rule)) is not None:
        alike = f"count(*) FILTER (WHERE {key.where}) OVER (PARTITION BY {key.by})"
        return f"(coalesce({key.where}, false) AND {alike} > 1)"
    return ""


def _marked(where: str) -> str:
    return f"SELECT * EXCLUDE (at_fault) FROM (SELECT *, {where} AS at_fault FROM batch)"


def _shown(connection: duckdb.DuckDBPyConnection, key: str, where: str) -> str:
    """Return the keys of the first rows at fault."""
    query = (
        f"SELECT {key} FROM ({_marked(where)} WHERE at_fault) ORDER BY ALL LIMIT {ROWS_SHOWN_MAX}"
    )
    return ", ".join(" ".join(map(str, row)) for row in connection.execute(query).fetchall())
