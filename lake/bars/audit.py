"""Look at bars before anybody can read them: the contract's own rules, on the rows to publish."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from lake.contracts.contract import load
from lake.errors import Damaged

ROWS_SHOWN_MAX = 3
COUNTED = "SELECT count(*) FROM ${object} WHERE "


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong with a batch: a sentence a rule, the rows at fault, and the rest of it.

    A rule about several rows at once names none; its sentence alone says that it is broken.
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
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("batch", rows)
        for rule in load(dataset).rules:
            found = connection.execute(rule.query.replace("${object}", "batch")).fetchone()
            assert found is not None
            if not found[0]:
                continue
            shown = ""
            if rule.query.startswith(COUNTED):
                where = rule.query.removeprefix(COUNTED)
                at_fault.append(f"coalesce({where}, false)")
                shown = _shown(connection, key, where)
            said.append(f"{found[0]:,} rows break {rule.name} ({rule.description}) {shown}".strip())
        where = " OR ".join(at_fault) or "false"
        wrong, right = (
            connection.execute(f"FROM batch WHERE {each} ORDER BY {key}").to_arrow_table()
            for each in (where, f"NOT ({where})")
        )
    return Faults(tuple(said), wrong.cast(rows.schema), right.cast(rows.schema))


def _shown(connection: duckdb.DuckDBPyConnection, key: str, where: str) -> str:
    """Return the keys of the first rows at fault."""
    query = f"SELECT {key} FROM batch WHERE {where} ORDER BY ALL LIMIT {ROWS_SHOWN_MAX}"
    return ", ".join(" ".join(map(str, row)) for row in connection.execute(query).fetchall())
