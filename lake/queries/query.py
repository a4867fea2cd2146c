"""Catalogs of statements, read from their header comments.

`warehouse_sql/queries` is the library, in the neutral dialect of lake.queries.dialect;
`warehouse_sql/dashboards` has PostgreSQL's for the hot tier, with `%(name)s` for psycopg.

A file is one statement below a header:

    -- Title
    -- What it answers, in one or more lines.
    --
    -- Parameters
    --   name  type = default  in [lowest, highest]  meaning
    --
    -- Columns
    --   name  type  meaning
    SELECT ...

Two spaces or more separate the parts. A parameter without a default is required; `null` is none.
Bounds are inclusive next to a square bracket, exclusive next to a round one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from lake.errors import BadInput, WrongUse
from lake.queries.value import KINDS, Bounds, Value, parse_value
from warehouse_sql.statement import names, text

LIBRARY = "queries"
DASHBOARDS = "dashboards"
COLUMN_TYPES = ("text", "time", "decimal", "integer")


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a statement asks of its caller; default None: required."""

    name: str
    kind: str
    default: str | None
    bounds: Bounds | None
    meaning: str


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """One column of a statement's rows."""

    name: str
    kind: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Query:
    """One statement; text: the file, source: what is below its header."""

    name: str
    title: str
    answers: str
    parameters: tuple[Parameter, ...]
    columns: tuple[ResultColumn, ...]
    text: str
    source: str

    def values(self, given: Mapping[str, str], *, now_us: int) -> dict[str, Value]:
        """Return every parameter's value, checked; WrongUse names what is off.

        given: texts by name; now_us: microseconds since the epoch that `now` stands for.
        """
        known = [each.name for each in self.parameters]
        for name in given:
            if name not in known:
                raise WrongUse(
                    f"parameter {name}",
                    f"is none of {self.name}",
                    f"it takes {', '.join(known)}",
                )
        return {each.name: self._value(each, given, now_us) for each in self.parameters}

    def _value(self, parameter: Parameter, given: Mapping[str, str], now_us: int) -> Value:
        word = given.get(parameter.name, parameter.default)
        if word is None:
            raise WrongUse(
                f"parameter {parameter.name}",
                f"is required by {self.name}",
                f"give {parameter.name}={parameter.kind.upper()}: {parameter.meaning}",
            )
        return parse_value(parameter.name, parameter.kind, word, parameter.bounds, now_us=now_us)


@cache
def catalog(folder: str = LIBRARY) -> tuple[Query, ...]:
    """Return every statement of a folder, by name."""
    return tuple(read(name, text(f"{folder}/{name}.sql")) for name in names(folder))


def find(name: str, folder: str = LIBRARY) -> Query:
    """Return a statement by its name; WrongUse where there is none."""
    for query in catalog(folder):
        if query.name == name:
            return query
    raise WrongUse(f"query {name}", "is not in the library", "see: ticklake sql --list")


def read(name: str, content: str) -> Query:
    """Read a file; BadInput where its header is not as it should be."""
    lines = content.splitlines()
    header = []
    for line in lines:
        if not line.startswith("--"):
            break
        header.append(line.removeprefix("--").removeprefix(" "))
    title, answers, parts = _parts(name, header)
    return Query(
        name=name,
        title=title,
        answers=answers,
        parameters=tuple(_parameter(name, line) for line in parts["Parameters"]),
        columns=tuple(_column(name, line) for line in parts["Columns"]),
        text=content,
        source="\n".join(lines[len(header) :]).strip(),
    )


def _parts(name: str, header: list[str]) -> tuple[str, str, dict[str, list[str]]]:
    """Return title, what it answers, and the lines of each part."""
    parts: dict[str, list[str]] = {"": []}
    part = ""
    for line in header:
        if line in ("Parameters", "Columns"):
            part = line
            parts[part] = []
        elif line.strip():
            parts[part].append(line.strip())
    opening = parts.pop("")
    if len(opening) < 2 or set(parts) != {"Parameters", "Columns"}:
        raise BadInput(
            f"query {name}", "its header lacks a part", "title, answer, Parameters, Columns"
        )
    return opening[0], " ".join(opening[1:]), parts


def _parameter(name: str, line: str) -> Parameter:
    found = _PARAMETER.fullmatch(line)
    if not found or found["kind"] not in KINDS:
        raise BadInput(
            f"query {name}", f"reads no parameter from: {line}", "see lake.queries.query"
        )
    bounds = None
    if found["low"] is not None:
        bounds = Bounds(found["low"], found["high"], found["opens"] == "[", found["ends"] == "]")
    return Parameter(found["name"], found["kind"], found["default"], bounds, found["meaning"])


def _column(name: str, line: str) -> ResultColumn:
    found = _COLUMN.fullmatch(line)
    if not found or found["kind"] not in COLUMN_TYPES:
        raise BadInput(f"query {name}", f"reads no column from: {line}", "see lake.queries.query")
    return ResultColumn(found["name"], found["kind"], found["meaning"])


_PARAMETER = re.compile(
    r"(?P<name>[a-z_]+) +(?P<kind>[a-z]+)(?: += +(?P<default>\S+))?"
    r"(?: +in +(?P<opens>[\[(])(?P<low>\S+), (?P<high>[^\s\])]+)(?P<ends>[\])]))?  +(?P<meaning>.+)"
)
_COLUMN = re.compile(r"(?P<name>[a-z_]+) +(?P<kind>[a-z]+)  +(?P<meaning>.+)")
