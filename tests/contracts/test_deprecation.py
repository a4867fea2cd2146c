"""A column goes after notice of three months, and until then old and new readers both work."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from importlib.resources import files
from io import BytesIO
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import yaml
from fastavro import parse_schema, reader, writer
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog

from infra.contracts.export import export, package_folder, released
from lake.contracts import deprecation
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.avro_schema import avro_schema, avro_text
from lake.contracts.compare import breaks
from lake.contracts.contract import DATASETS, Contract, load, parse
from lake.contracts.data_dictionary import _row
from lake.contracts.deprecation import months_after
from lake.contracts.iceberg_schema import ICEBERG_TYPES, iceberg_schema
from lake.errors import BadInput, Refused
from lake.tables.catalog import open_catalog

TODAY = date(2026, 11, 25)
NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)
ALL = released()


def changed(
    dataset: str,
    column: str,
    *,
    since: str = "",
    after: str = "",
    instead: str = "",
    cut: bool = False,
) -> Contract:
    """Return a dataset's contract with a column deprecated, or cut out."""
    text = files("lake.contracts").joinpath(f"{dataset}.yaml").read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    properties = document["schema"][0]["properties"]
    (found,) = [each for each in properties if each["name"] == column]
    marks = {"deprecatedSince": since, "goesAfter": after, "replacedBy": instead}
    for name, value in marks.items():
        if value:
            day = date.fromisoformat(value) if name != "replacedBy" else value
            found["customProperties"].append({"property": name, "value": day})
    if instead and all(each["name"] != instead for each in properties):
        properties.append(
            {
                **found,
                "name": instead,
                "required": False,
                "customProperties": [{"property": "fieldId", "value": len(properties) + 1}],
            }
        )
    if cut:
        properties.remove(found)
    return parse(yaml.safe_dump(document), dataset)


def said(old: Contract, new: Contract, today: date = TODAY) -> list[str]:
    found = [f"{column}: {fault}" for column, fault in deprecation.faults(new)]
    return found + [str(each).partition(".")[2] for each in breaks(old, new, today)]


@given(st.dates(date(1970, 1, 1), date(2200, 1, 1)), st.integers(0, 30))
def test_months_later_is_the_same_day_or_that_month_s_last(day: date, months: int) -> None:
    later = months_after(day, months)
    assert (later.year * 12 + later.month) - (day.year * 12 + day.month) == months
    assert later.day == day.day or (later.day < day.day and months_after(later, 0) == later)
    assert months_after(date(2026, 11, 30), 3) == date(2027, 2, 28)


NOTICE = {"since": "2026-11-25", "after": "2027-02-25"}


def test_notice_of_three_months_passes_and_a_day_less_does_not() -> None:
    old = load("releases")
    assert said(old, changed("releases", "missing", **NOTICE)) == []
    assert said(old, changed("releases", "missing", **{**NOTICE, "after": "2027-02-24"})) == [
        "missing: goes after 2027-02-24, which is too soon: 2027-02-25 or later",
        "missing: newly deprecated, goes after 2027-02-24: 2027-02-25 or later",
    ]


def test_notice_can_not_be_dated_back_and_what_was_given_is_kept() -> None:
    backdated = changed("releases", "missing", since="2026-06-01", after="2026-12-01")
    assert said(load("releases"), backdated) == [
        "missing: newly deprecated, goes after 2026-12-01: 2027-02-25 or later"
    ]
    given = changed("releases", "missing", **NOTICE)
    later = changed("releases", "missing", **{**NOTICE, "after": "2027-06-01"})
    assert said(given, later) == []
    assert said(later, given) == [
        "missing: was to stay until 2027-06-01, now goes after 2027-02-25"
    ]


def test_a_column_may_go_after_its_date_and_not_before() -> None:
    given, gone = changed("releases", "missing", **NOTICE), changed("releases", "missing", cut=True)
    assert said(load("releases"), gone) == ["missing: removed"]
    assert said(given, gone, date(2027, 2, 25)) == [
        "missing: removed, and was to stay until 2027-02-25"
    ]
    assert said(given, gone, date(2027, 2, 26)) == []


def test_a_column_that_stored_digests_hold_never_goes() -> None:
    given = changed("crypto_trades", "seq", **NOTICE)
    gone = changed("crypto_trades", "seq", cut=True)
    assert said(given, gone, date(2027, 2, 26)) == [
        "seq: removed, and the loss ledger's digests hold it: leave it in, optional and empty"
    ]


def test_what_takes_its_place_must_be_there() -> None:
    text = files("lake.contracts").joinpath("releases.yaml").read_text(encoding="utf-8")
    mark = "{property: fieldId, value: 7}\n          - {property: replacedBy, value: nothing}"
    new = parse(text.replace("{property: fieldId, value: 7}", mark), "releases")
    assert said(load("releases"), new) == [
        "missing: is replaced by nothing, which is no column",
        "missing: is replaced, but not deprecated",
    ]
    with pytest.raises(BadInput, match="goesAfter: 'soon' is no date"):
        parse(
            text.replace("value: 7}", "value: 7}\n          - {property: goesAfter, value: soon}"),
            "x",
        )


def test_the_dictionary_says_what_goes_and_what_to_use() -> None:
    new = changed("releases", "missing", **NOTICE, instead="lacking")
    assert "goes after 2027-02-25; use `lacking`" in _row(new.column("missing"))


# Readers ----------------------------------------------------------------------------------------


def written(contract: Contract, rows: list[dict[str, Any]]) -> bytes:
    into = BytesIO()
    writer(into, parse_schema(avro_schema(contract)), rows)
    return into.getvalue()


def read(contract: Contract, data: bytes) -> list[Any]:
    return list(reader(BytesIO(data), reader_schema=parse_schema(avro_schema(contract))))


def rows_of(contract: Contract) -> list[dict[str, Any]]:
    """Return a row with every column and one with those that are required."""
    values = {
        "text": "x", "decimal": 1, "total": 2, "product": 3, "digest": 4, "time": NOON,
        "int16": 5, "int32": 6, "int64": 7, "binary": b"y", "double": 8.5,
    }  # fmt: skip
    schema = arrow_schema(contract)
    full = {column.name: values[column.type] for column in contract.columns}
    least = {name: full[name] if contract.column(name).required else None for name in full}
    return list(pa.Table.from_pylist([full, least], schema=schema).to_pylist())


def test_every_released_version_has_its_schema_in_the_tree() -> None:
    for contract in ALL:
        path = package_folder("avro") / contract.name / f"{contract.version}.avsc"
        assert path.read_text(encoding="utf-8") == avro_text(contract)
    assert {each.name for each in ALL} == set(DATASETS)


@pytest.mark.parametrize("dataset", DATASETS)
def test_any_released_reader_reads_what_any_released_writer_wrote(dataset: str) -> None:
    versions = [each for each in ALL if each.name == dataset]
    for one, other in [*permutations(versions, 2), *((each, each) for each in versions)]:
        rows = rows_of(one)
        found = read(other, written(one, rows))
        for row, back in zip(rows, found, strict=True):
            assert back == {name: row.get(name) for name in other.names}
    assert all(set(a.names) <= set(b.names) for a, b in pairwise(versions))


def test_old_and_new_readers_of_files_both_work_during_the_notice() -> None:
    old = load("releases")
    new = changed("releases", "missing", **NOTICE, instead="lacking")
    before, after = rows_of(old), rows_of(new)
    assert read(old, written(new, after)) == [
        {name: row[name] for name in old.names} for row in after
    ]
    assert read(new, written(old, before)) == [{**row, "lacking": None} for row in before]


@pytest.fixture
def catalog(migrated_dsn: str, tmp_path: Path) -> Iterator[SqlCatalog]:
    found = open_catalog(migrated_dsn, str(tmp_path / "warehouse"))
    yield found
    found.engine.dispose()


def test_old_and_new_readers_of_the_lake_both_work_during_the_notice(catalog: SqlCatalog) -> None:
    old = load("releases")
    new = changed("releases", "missing", **NOTICE, instead="lacking")
    assert said(old, new) == []
    catalog.create_namespace("market")
    table = catalog.create_table("market.evolving", iceberg_schema(old))
    table.append(pa.Table.from_pylist(rows_of(old), schema=arrow_schema(old)))
    queries = {each: ", ".join(f'"{name}"' for name in each.names) for each in (old, new)}

    with table.update_schema() as change:
        added = new.column("lacking")
        change.add_column("lacking", ICEBERG_TYPES[added.type], doc=added.meaning)
    table = catalog.load_table("market.evolving")
    # A writer that knows the new contract, and one that was not brought up to it.
    table.append(pa.Table.from_pylist(rows_of(new), schema=arrow_schema(new)))
    table.append(pa.Table.from_pylist(rows_of(old), schema=arrow_schema(old)))

    with duckdb.connect() as connection:
        connection.register("stored", table.scan().to_arrow())
        by_old = connection.execute(f"SELECT {queries[old]} FROM stored").fetchall()
        by_new = connection.execute(f"SELECT {queries[new]} FROM stored").fetchall()
    assert (len(by_old), len(by_new)) == (6, 6)
    assert sorted(row[-1] or "" for row in by_new) == ["", "", "", "", "", "x"]
    assert sorted(row[-1] or "" for row in by_old) == ["", "", "", "x", "x", "x"]


def test_an_exported_schema_is_never_written_over(tmp_path: Path) -> None:
    (first, *_) = ALL
    assert export([first], tmp_path) == [tmp_path / first.name / f"{first.version}.avsc"]
    assert export([first], tmp_path) == []
    (tmp_path / first.name / f"{first.version}.avsc").write_text("{}")
    with pytest.raises(Refused, match="says other than its contract"):
        export([first], tmp_path)
