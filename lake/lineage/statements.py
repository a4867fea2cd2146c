"""What the library's statements read, so that a change of a column names those it breaks."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp, parse_one

from lake.contracts.contract import DATASETS, load
from lake.lineage.graph import Edge
from lake.queries.query import Query, catalog

PREFIX, ROWS = "query.", "rows"
"""A statement stands in the graph as `query.<name>.rows`."""


def statement_edges() -> Iterator[Edge]:
    """Yield an edge from every column that a statement reads to its rows.

    Exact to the statement, not to each column that it shows: a filter or an order bears on all.
    """
    for query in catalog():
        for source in sorted(columns_read(query)):
            yield Edge(source, f"{PREFIX}{query.name}.{ROWS}", query.title)


def columns_read(query: Query) -> set[str]:
    """Return the columns, as dataset.column, of the datasets that a statement reads.

    A name that two of its datasets have counts for both, unless it says whose it is.
    """
    tree = parse_one(query.source, dialect="duckdb")
    tables = {each.name for each in tree.find_all(exp.Table)} & set(DATASETS)
    owners = {each.alias_or_name: each.name for each in tree.find_all(exp.Table)}
    found = set()
    for column in tree.find_all(exp.Column):
        at = owners.get(column.table)
        for dataset in {at} & tables if at else tables:
            if column.name in load(dataset).names:
                found.add(f"{dataset}.{column.name}")
    return found
