"""Look at bars before anybody can read them: the contract's own rules, on the rows to publish."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa

from lake.contracts.contract import Rule, load
from lake.errors import Damaged

ROWS_SHOWN_MAX = 3
COUNTED = "SELECT count(*) FROM ${object} WHERE "


def audit(dataset: str, rows: pa.Table) -> None:
    """Raise Damaged, with rule and rows, when rows break a rule of their dataset's contract."""
    faults = list(broken(dataset, rows))
    if faults:
        raise Damaged(
            f"lake.{dataset}",
            "; ".join(faults),
            "nothing was published; correct the rows they come from, then run it again",
        )


def broken(dataset: str, rows: pa.Table) -> Iterator[str]:
    """Yield what is wrong, a sentence a rule."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("batch", rows)
        for rule in load(dataset).rules:
            found = connection.execute(rule.query.replace("${object}", "batch")).fetchone()
            assert found is not None
            if found[0]:
                shown = ", ".join(_at_fault(connection, dataset, rule))
                yield f"{found[0]:,} rows break {rule.name} ({rule.description}) {shown}".strip()


def _at_fault(connection: duckdb.DuckDBPyConnection, dataset: str, rule: Rule) -> Iterator[str]:
    """Yield the keys of the first rows at fault, where the rule looks at single rows."""
    if not rule.query.startswith(COUNTED):
        return
    key = ", ".join(f'"{name}"' for name in load(dataset).key)
    where = rule.query.removeprefix(COUNTED)
    query = f"SELECT {key} FROM batch WHERE {where} ORDER BY ALL LIMIT {ROWS_SHOWN_MAX}"
    for row in connection.execute(query).fetchall():
        yield " ".join(map(str, row))
