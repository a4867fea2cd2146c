"""One source of SQL for DuckDB and Trino: values bound, words that the engines differ in replaced.

The source is DuckDB's dialect without what Trino has no exact match for, with `$name` where a value
goes. sqlglot translates it; what it does not know, or does inexactly, is here:

- `exact_ratio(a, b)`: a / b to 10 places, half away from zero, null for b = 0. a has ten decimal
  places more than b, and b is not negative. DuckDB has no division of decimals.
- `bucket(t, $interval)`: the start of t's bucket; buckets count from 1970 in UTC. Trino has none.
- `microseconds(t)`: whole microseconds since 1970. Trino's own conversion is a double, exact only
  within a day; and its date_add takes no number beyond 32 bits.
- TIMESTAMPTZ has microseconds; in Trino a type without a precision cuts at milliseconds.
- A plain `/` is a division of doubles in DuckDB, of decimals in Trino: `exact_ratio`, or casts.

Values become literals of the syntax tree, so no text of a caller is ever read as SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlglot import exp, parse, parse_one

from lake.errors import BadInput, WrongUse
from lake.queries.value import Value

ENGINES = ("duckdb", "trino")

_EPOCH = "TIMESTAMP '1970-01-01 00:00:00.000000 UTC'"

_TEMPLATES: Mapping[str, Mapping[str, str]] = {
    "duckdb": {
        "exact_ratio": (
            "CAST(CAST(sign(:a) * ((2 * abs(CAST(replace(CAST(:a AS VARCHAR), '.', '') AS HUGEINT))"
            " + CAST(replace(CAST(:b AS VARCHAR), '.', '') AS HUGEINT))"
            " // (2 * CAST(replace(CAST(:b AS VARCHAR), '.', '') AS HUGEINT)))"
            " AS DECIMAL(38, 0)) * CAST(0.0000000001 AS DECIMAL(11, 10)) AS DECIMAL(28, 10))"
        ),
        "bucket": "time_bucket(to_milliseconds(:b), :a, TIMESTAMPTZ '1970-01-01 00:00:00+00')",
        "microseconds": "epoch_us(:a)",
    },
    "trino": {
        "exact_ratio": "CAST(:a / NULLIF(:b, 0) AS DECIMAL(28, 10))",
        "bucket": (
            f"CAST(from_unixtime_nanos((date_diff('millisecond', {_EPOCH}, :a)"
            f" - date_diff('millisecond', {_EPOCH}, :a) % :b) * 1000000)"
            " AS TIMESTAMP(6) WITH TIME ZONE)"
        ),
        "microseconds": (
            f"(date_diff('day', {_EPOCH}, :a) * 86400000000 + CAST(round(to_unixtime("
            f"date_add('day', -date_diff('day', {_EPOCH}, :a), :a)) * 1000000) AS BIGINT))"
        ),
    },
}


def render(source: str, values: Mapping[str, Value], engine: str) -> str:
    """Return a statement for an engine with its values in place, one line a clause.

    Raises WrongUse where a value is missing or the engine is none of ENGINES.
    """
    if engine not in ENGINES:
        raise WrongUse(f"engine {engine}", "is none", f"it is {' or '.join(ENGINES)}")
    tree = _statement(source)
    for spot in list(tree.find_all(exp.Placeholder, exp.Parameter)):
        name = str(spot.name)
        if name not in values:
            raise WrongUse(f"parameter {name}", "has no value", f"give {name}=...")
        spot.replace(_literal(values[name]))
    if engine == "trino":
        _keep_microseconds(tree)
    return _own_words(tree, engine).sql(dialect=engine, pretty=True, comments=False)


def _statement(source: str) -> exp.Query:
    found = [tree for tree in parse(source, read="duckdb") if tree is not None]
    if len(found) != 1 or not isinstance(found[0], exp.Query):
        raise BadInput("query", "is not one statement that reads", "one SELECT a file")
    return found[0]


def _literal(value: Value) -> exp.Expression:
    """Return a value as a typed literal."""
    if value is None:
        return exp.cast(exp.null(), "VARCHAR")
    if isinstance(value, datetime):
        text = value.isoformat(sep=" ", timespec="microseconds")
        return exp.cast(exp.Literal.string(text), "TIMESTAMPTZ")
    if isinstance(value, int):
        return exp.Literal.number(value)
    return exp.Literal.string(value)


def _own_words(tree: exp.Query, engine: str) -> exp.Query:
    """Replace our own functions, inner ones first."""
    for call in reversed(list(tree.find_all(exp.Anonymous))):
        template = _TEMPLATES[engine].get(call.name.lower())
        if template is None:
            continue
        values = dict(zip("ab", call.expressions, strict=False))
        meant = parse_one(template, read=engine)
        for spot in list(meant.find_all(exp.Placeholder)):
            value = values[str(spot.name)].copy()
            spot.replace(exp.paren(value) if isinstance(value, exp.Binary) else value)
        call.replace(meant)
    return tree


def _keep_microseconds(tree: exp.Query) -> None:
    for kind in tree.find_all(exp.DataType):
        if kind.this == exp.DType.TIMESTAMPTZ and not kind.expressions:
            kind.set("expressions", [exp.DataTypeParam(this=exp.Literal.number(6))])
