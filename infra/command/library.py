"""The library of SQL statements as the command shows it: a list, one of them, one with values."""

from __future__ import annotations

from collections.abc import Sequence

from infra.command.answer import Answer
from lake.clock import SystemClock
from lake.errors import WrongUse


def listed(words: Sequence[str]) -> Answer:
    """Return the catalog."""
    from lake.queries.query import catalog

    if words:
        raise WrongUse("--list", f"takes no {words[0]}", "one statement: --show NAME")
    width = max(len(query.name) for query in catalog())
    document = {
        "queries": [
            {"name": q.name, "title": q.title, "parameters": [p.name for p in q.parameters]}
            for q in catalog()
        ]
    }
    lines = [f"{q.name:<{width}}  {q.title}" for q in catalog()]
    return Answer(document, [*lines, "", "ticklake sql --show NAME; ticklake sql --query NAME"])


def shown(name: str, words: Sequence[str], engine: str) -> Answer:
    """Return a statement with its header as it is kept; given values, as the engine gets it."""
    from lake.queries.query import find

    query = find(name)
    text = bound(name, words, engine) if words else query.text.rstrip()
    document = {
        "name": query.name,
        "title": query.title,
        "answers": query.answers,
        "parameters": [
            {
                "name": each.name,
                "type": each.kind,
                "default": each.default,
                "bounds": str(each.bounds) if each.bounds else None,
                "meaning": each.meaning,
            }
            for each in query.parameters
        ],
        "columns": [
            {"name": each.name, "type": each.kind, "meaning": each.meaning}
            for each in query.columns
        ],
        "sql": text,
    }
    return Answer(document, text.splitlines())


def bound(name: str, words: Sequence[str], engine: str) -> str:
    """Return a statement for an engine with the values of words like since=now-1h in it."""
    from lake.queries.dialect import render
    from lake.queries.query import find

    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key in given:
            raise WrongUse(
                f"--query {name}", f"reads no value from {word}", "one NAME=VALUE each parameter"
            )
        given[key] = value
    query = find(name)
    return render(query.source, query.values(given, now_us=SystemClock().now_us()), engine)
