"""The contracts hold what ODCS asks for, and everything derived from them agrees."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files

import duckdb
import pyarrow as pa
import pytest
import yaml
from pyiceberg.io.pyarrow import schema_to_pyarrow

from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import DATASETS, TICK_DATASETS, load, parse
from lake.contracts.data_dictionary import markdown
from lake.contracts.iceberg_schema import iceberg_schema, partition_spec, sort_order
from lake.contracts.retention import TIERS
from lake.contracts.rule_forms import once, row_fault
from lake.errors import BadInput, WrongUse

# What the JSON schema of ODCS v3.0.2 allows: nothing else may stand in a contract.
ODCS_REQUIRED = {"version", "apiVersion", "kind", "id", "status"}
ODCS_ROOT = ODCS_REQUIRED | {
    *("name", "tenant", "tags", "servers", "dataProduct", "description", "domain", "schema"),
    *("support", "price", "team", "roles", "slaDefaultElement", "slaProperties"),
    *("authoritativeDefinitions", "customProperties", "contractCreatedTs"),
}
ODCS_ELEMENT = {
    *("name", "physicalType", "description", "businessName", "authoritativeDefinitions"),
    *("tags", "customProperties", "logicalType", "quality"),
}
ODCS_OBJECT = ODCS_ELEMENT | {"physicalName", "dataGranularityDescription", "properties"}
ODCS_PROPERTY = ODCS_ELEMENT | {
    *("primaryKey", "primaryKeyPosition", "logicalTypeOptions", "required", "unique"),
    *("partitioned", "partitionKeyPosition", "classification", "encryptedName"),
    *("transformSourceObjects", "transformLogic", "transformDescription", "examples"),
    "criticalDataElement",
}
ODCS_LOGICAL_TYPES = {"string", "date", "number", "integer", "object", "array", "boolean"}
ODCS_DIMENSIONS = {
    *("accuracy", "completeness", "conformity", "consistency", "coverage", "timeliness"),
    "uniqueness",
}


@pytest.mark.parametrize("dataset", DATASETS)
def test_contract_has_what_odcs_requires_and_nothing_it_does_not_know(dataset):
    text = files("lake.contracts").joinpath(f"{dataset}.yaml").read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    assert set(document) >= ODCS_REQUIRED | {"schema", "team", "slaProperties"}
    assert set(document) <= ODCS_ROOT
    assert document["kind"] == "DataContract"
    assert document["apiVersion"] == "v3.0.2"
    assert document["name"] == dataset
    (table,) = document["schema"]
    assert set(table) <= ODCS_OBJECT
    for column in table["properties"]:
        assert set(column) <= ODCS_PROPERTY
        assert column["logicalType"] in ODCS_LOGICAL_TYPES
    for rule in table["quality"]:
        assert rule["dimension"] in ODCS_DIMENSIONS
        assert "${object}" in rule["query"]
        assert rule["mustBe"] == 0


@pytest.mark.parametrize("dataset", DATASETS)
def test_contract_names_only_its_own_columns(dataset):
    contract = load(dataset)
    ids = [column.id for column in contract.columns]
    assert ids == list(range(1, len(ids) + 1))
    named = {*contract.key, *contract.sort, contract.partition_column}
    named |= {contract.ledger_ticker, contract.ledger_time}
    named |= {contract.ledger_sum_a, contract.ledger_sum_b}
    assert named - {""} <= set(contract.names)
    assert contract.key
    assert contract.rules
    assert all(column.description for column in contract.columns)
    assert tuple(contract.retention_days) == TIERS


def test_crypto_trades_has_the_columns_readers_rely_on():
    assert load("crypto_trades").names == (
        *("ticker", "exchange", "market", "trade_id", "event_time", "received_time"),
        *("price", "size", "side", "conditions", "shard", "seq"),
    )


@pytest.mark.parametrize("dataset", TICK_DATASETS)
def test_tick_dataset_is_cut_by_day_sorted_and_fresh_within_five_minutes(dataset):
    contract = load(dataset)
    assert (contract.partition_transform, contract.partition_column) == ("day", "event_time")
    assert contract.sort[1:] == ("event_time", "seq")
    assert contract.freshness_minutes == 5
    assert [str(field) for field in partition_spec(contract).fields] == [
        f"1000: event_time_day: day({contract.column('event_time').id})"
    ]
    order = [field.source_id for field in sort_order(contract).fields]
    assert order == [contract.column(name).id for name in contract.sort]


def test_a_contract_that_cuts_by_the_hour_is_refused_in_one_sentence():
    text = files("lake.contracts").joinpath("crypto_trades.yaml").read_text(encoding="utf-8")
    hourly = text.replace("partitionTransform, value: day", "partitionTransform, value: hour")
    with pytest.raises(BadInput, match=r"^t\.yaml: partitionTransform is hour, but .* write day"):
        parse(hourly, "t.yaml")


def test_retention_defaults_are_those_of_the_architecture_review():
    ages = {name: tuple(load(name).retention_days.values()) for name in TICK_DATASETS}
    assert ages == {
        "crypto_trades": (7, 30, 730, 1095),
        "crypto_quotes": (1, 7, 90, 365),
        "crypto_aggregates": (90, 365, 1825, 2555),
        "market_sentiment": (30, 365, None, None),
    }


@pytest.mark.parametrize("dataset", DATASETS)
def test_arrow_and_iceberg_schemas_agree(dataset):
    contract = load(dataset)
    arrow = arrow_schema(contract)
    assert tuple(arrow.names) == contract.names
    lake = schema_to_pyarrow(iceberg_schema(contract), include_field_ids=False)
    assert [each.name for each in lake] == arrow.names
    for field, stored in zip(arrow, lake, strict=True):
        assert _wide(stored.type) == _wide(field.type), field.name
        assert stored.nullable == field.nullable
        assert stored.metadata[b"doc"].decode() == contract.column(field.name).meaning


def test_iceberg_field_ids_are_the_contracts_own():
    contract = load("crypto_trades")
    schema = iceberg_schema(contract)
    assert {field.name: field.field_id for field in schema.fields} == {
        column.name: column.id for column in contract.columns
    }


def test_arrow_schema_loads_without_iceberg():
    program = "import sys, lake.contracts.arrow_schema as a; sys.exit('pyiceberg' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("dataset", DATASETS)
def test_rules_run_in_duckdb_and_find_nothing_in_no_rows(dataset):
    contract = load(dataset)
    with duckdb.connect() as connection:
        connection.register("rows_of_it", arrow_schema(contract).empty_table())
        for rule in contract.rules:
            query = rule.query.replace("${object}", "rows_of_it")
            assert connection.execute(query).fetchone() == (0,), rule.name


@pytest.mark.parametrize(
    ("dataset", "rule", "rows"),
    [
        ("crypto_trades", "price_positive", "SELECT 0.0 AS price"),
        ("crypto_aggregates", "close_in_range", "SELECT 1000000.5 AS close"),
        ("crypto_aggregates", "close_in_range", "SELECT -1 AS close"),
        (
            "crypto_aggregates",
            "bucket_once",
            "SELECT 't' AS ticker, 'e' AS exchange, 'm' AS market, '1m' AS interval,"
            " 0 AS event_time FROM range(2)",
        ),
        ("market_sentiment", "score_in_range", "SELECT 1.5 AS sentiment_score"),
        ("market_sentiment", "confidence_in_range", "SELECT -0.5 AS confidence"),
        (
            "ingest_batches",
            "classes_add_up",
            "SELECT 3 AS events, 1 AS stored, 1 AS quarantined, 0 AS duplicate, 0 AS ignored",
        ),
    ],
)
def test_rule_counts_a_planted_fault(dataset, rule, rows):
    (found,) = [each for each in load(dataset).rules if each.name == rule]
    query = found.query.replace("${object}", f"({rows}) AS planted")
    with duckdb.connect() as connection:
        assert connection.execute(query).fetchone() == (1,)


def test_dictionary_names_every_dataset_and_column():
    text = markdown()
    for dataset in DATASETS:
        section = text.split(f"\n## {dataset}\n")[1].split("\n## ")[0]
        for column in load(dataset).columns:
            assert f"| {column.id} | `{column.name}` | {column.physical_type} |" in section


def test_unknown_dataset_is_wrong_use():
    with pytest.raises(WrongUse, match=r"^trades: no such dataset: one of crypto_trades"):
        load("trades")


@pytest.mark.parametrize("text", ["{", "[]", "name: x", "schema: []", "", "schema: [1]"])
def test_file_that_is_no_contract_is_bad_input(text):
    with pytest.raises(BadInput, match=r"^some\.yaml: not "):
        parse(text, "some.yaml")


def _wide(kind: pa.DataType) -> pa.DataType:
    """Return the type under which a lake stores it: no small integers, no short offsets."""
    if pa.types.is_int16(kind):
        return pa.int32()
    if pa.types.is_string(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary(kind) else kind


def test_every_rule_can_be_asked_of_rows_but_the_one_about_a_whole_release():
    """Of the forms that the quality flow reads; another would be asked by nobody."""
    unread = {
        f"{name}.{rule.name}"
        for name in DATASETS
        for rule in load(name).rules
        if row_fault(rule) is None and once(rule) is None
    }
    assert unread == {"releases.one_cut"}
