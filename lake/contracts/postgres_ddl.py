"""A contract as a PostgreSQL table.

Tick tables check nothing but NOT NULL: a value rule would cost every row of the hot path what the
codec has already paid, and the quality rules look again.
"""

from __future__ import annotations

from lake.contracts.contract import TICK_DATASETS, Column, Contract


def create_table_sql(contract: Contract, schema: str = "market") -> str:
    """Return CREATE TABLE and COMMENT statements; a tick table is partitioned by event_time."""
    table = f"{_name(schema)}.{_name(contract.name)}"
    lines = [_column_sql(column) for column in contract.columns]
    lines += [
        f"{_name(name)} {type_} GENERATED ALWAYS AS ({expression}) STORED"
        for name, type_, expression in contract.generated_columns
    ]
    if contract.key_enforced:
        lines.append(f"PRIMARY KEY ({', '.join(_name(name) for name in contract.key)})")
    body = ",\n".join(f"    {line}" for line in lines)
    partitioned = contract.name in TICK_DATASETS
    tail = f" PARTITION BY RANGE ({_name(contract.partition_column)})" if partitioned else ""
    create = f"CREATE TABLE {table} (\n{body}\n){tail};"
    return "\n".join([create, *_comments(contract, table)]) + "\n"


def _column_sql(column: Column) -> str:
    return f"{_name(column.name)} {column.physical_type}{' NOT NULL' if column.required else ''}"


def _comments(contract: Contract, table: str) -> list[str]:
    return [
        f"COMMENT ON TABLE {table} IS {_text(contract.description)};",
        *(
            f"COMMENT ON COLUMN {table}.{_name(column.name)} IS\n    {_text(column.meaning)};"
            for column in contract.columns
        ),
    ]


def _name(name: str) -> str:
    return f'"{name}"' if name in _QUOTED else name


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


_QUOTED = ("interval", "rows", "open", "close")
"""Names that some engine reads as a keyword."""
