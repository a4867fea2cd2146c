"""A dataset's contract: read from its Open Data Contract Standard file beside this module.

Arrow, Iceberg and PostgreSQL schemas, the data dictionary and the quality rules are derived from
it; nothing else says what a column is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from lake.contracts.retention import read_retention
from lake.errors import BadInput, WrongUse

ColumnType = Literal[
    "text",
    "decimal",
    "total",
    "product",
    "digest",
    "time",
    "int16",
    "int32",
    "int64",
    "binary",
    "double",
]

TICK_DATASETS = ("crypto_trades", "crypto_quotes", "crypto_aggregates", "market_sentiment")
"""Datasets on the hot path: partitioned by event_time, one partition a UTC day."""

LAKE_ONLY_DATASETS = (
    "bars",
    "features_market",
    "features_microstructure",
    "features_sentiment",
    "features_cross_asset",
    "labels_market",
)
"""Datasets without a table in the hot tier."""

LEDGER_DATASETS: Mapping[str, str] = {
    "order_events": "id",
    "position_events": "id",
    "orders": "event_id",
    "fills": "event_id",
    "positions": "event_id",
    "positions_history": "event_id",
    "portfolio_snapshots": "row_no",
}
"""The ledger of orders, and what is made of it; numbered as those below."""

NUMBERED_DATASETS: Mapping[str, str] = {
    "lineage_events": "event_no",
    "quality_results": "seq",
    "funding_rates": "row_no",
    "asset_edges": "row_no",
    "model_predictions": "row_no",
    "ml_models": "row_no",
    **LEDGER_DATASETS,
}
"""Datasets that flows write into the hot tier, and the column that numbers their rows, rising:
whoever reads a number reads all below it. They go to the lake by it, as ticks do by their frame."""

WHOLE_DATASETS = (*LAKE_ONLY_DATASETS, "funding_rates")
"""Datasets that flows make and research reads: a release holds a snapshot of each, whole, where of
the others it holds the rows up to its cut."""

DATASETS = (
    *TICK_DATASETS,
    "instruments",
    "ingest_batches",
    "ledger_minutes",
    "feed_gaps",
    "quarantine",
    "releases",
    *NUMBERED_DATASETS,
    "quarantine_decisions",
    *LAKE_ONLY_DATASETS,
)

TYPES: Mapping[str, ColumnType] = {
    "text": "text",
    "numeric(28,10)": "decimal",
    "numeric(38,10)": "total",
    "numeric(38,20)": "product",
    "numeric(38,0)": "digest",
    "timestamptz": "time",
    "smallint": "int16",
    "integer": "int32",
    "bigint": "int64",
    "bytea": "binary",
    "double precision": "double",
}
"""PostgreSQL type, as the contracts write it -> ours."""

PARTITION_TRANSFORMS = ("", "day")
"""What a lake table may be cut by: files, upkeep, proofs and retention all go by the UTC day."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its stable id, type, whether it may be null, unit ("" for none), meaning.

    since: version of the contract that added it; "" for the first. sources: the columns that it is
    made of, each as dataset.column, and transform how; none where it is the event's own.
    deprecated_since, goes_after, replaced_by: how it goes, see lake.contracts.deprecation.
    """

    name: str
    id: int
    type: ColumnType
    physical_type: str
    required: bool
    unit: str
    description: str
    since: str = ""
    sources: tuple[str, ...] = ()
    transform: str = ""
    deprecated_since: date | None = None
    goes_after: date | None = None
    replaced_by: str = ""

    @property
    def meaning(self) -> str:
        """Return the description with its unit, as the engines show it."""
        return f"{self.description} [{self.unit}]" if self.unit else self.description


@dataclass(frozen=True, slots=True)
class Rule:
    """A quality rule: query counts the rows at fault in ${object}, and must give 0."""

    name: str
    dimension: str
    description: str
    query: str


@dataclass(frozen=True, slots=True)
class Contract:
    """What a dataset promises.

    key: columns that tell one thing from another; key_enforced: by a primary key in the hot tier.
    versioned_by: columns by which a thing's rows are ordered, its state now last; empty where a
    thing has one row.
    partition_column is "" where the dataset has no partitions, else cut by partition_transform.
    retention_days: tier -> age at which a row leaves it, None: kept. age_time: column that the age
    is of, where neither a partition nor the ledger has one.
    compression_days: age at which a row is compressed where the hot tier can, None: never.
    freshness_minutes: None where no age is promised.
    ledger_*: columns that the loss ledger groups and sums; "" for none.
    generated_columns: (name, PostgreSQL type, expression), in the hot tier only.
    excluded_conditions: prints under these conditions are not in a bar.
    """

    name: str
    version: str
    status: str
    owner: str
    description: str
    granularity: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    key_enforced: bool
    versioned_by: tuple[str, ...]
    partition_column: str
    partition_transform: str
    sort: tuple[str, ...]
    retention_days: Mapping[str, int | None] = field(hash=False)
    compression_days: int | None
    freshness_minutes: int | None
    rules: tuple[Rule, ...]
    ledger_ticker: str
    ledger_time: str
    ledger_sum_a: str
    ledger_sum_b: str
    generated_columns: tuple[tuple[str, str, str], ...]
    excluded_conditions: tuple[str, ...] = ()
    age_time: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the columns' names, in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return a column; raises WrongUse when there is none of that name."""
        for column in self.columns:
            if column.name == name:
                return column
        raise WrongUse(f"{self.name}.{name}", "no such column", f"one of {', '.join(self.names)}")


@cache
def load(dataset: str) -> Contract:
    """Return a dataset's current contract; raises WrongUse for an unknown dataset."""
    if dataset not in DATASETS:
        raise WrongUse(dataset, "no such dataset", f"one of {', '.join(DATASETS)}")
    text = files("lake.contracts").joinpath(f"{dataset}.yaml").read_text(encoding="utf-8")
    return parse(text, dataset)


def parse(text: str, thing: str) -> Contract:
    """Return the contract that a file's text holds; thing names it in errors.

    Raises BadInput when the text is not YAML or lacks what a contract must say.
    """
    try:
        document = yaml.load(text, Loader=_LOADER)
        contract = _contract(document)
    except yaml.YAMLError as error:
        fault = " ".join(str(error).split())
        raise BadInput(thing, f"not YAML ({fault})", "repair the file") from error
    except (KeyError, TypeError, ValueError, IndexError) as error:
        fault = f"not a contract ({type(error).__name__}: {error})"
        raise BadInput(thing, fault, "see ODCS v3.0.2 and the other contracts") from error
    if contract.partition_transform not in PARTITION_TRANSFORMS:
        raise BadInput(
            thing,
            f"partitionTransform is {contract.partition_transform}, but tables are cut by the day",
            "write day, or no partition at all",
        )
    return contract


def _contract(document: Mapping[str, Any]) -> Contract:
    table = document["schema"][0]
    properties = table["properties"]
    custom = _custom(table)
    partition = [each["name"] for each in properties if each.get("partitioned")]
    return Contract(
        name=document["name"],
        version=document["version"],
        status=document["status"],
        owner=next(each["username"] for each in document["team"] if each["role"] == "owner"),
        description=table["description"],
        granularity=table["dataGranularityDescription"],
        columns=tuple(_column(each) for each in properties),
        key=_key(properties),
        key_enforced=bool(custom.get("keyEnforced", False)),
        versioned_by=tuple(custom.get("versionedBy", ())),
        partition_column=partition[0] if partition else "",
        partition_transform=custom.get("partitionTransform", ""),
        sort=tuple(custom["sortOrder"]),
        retention_days=read_retention(document["name"], document["slaProperties"]),
        age_time=custom.get("ageTime", ""),
        compression_days=_promise(document["slaProperties"], "compression"),
        freshness_minutes=_promise(document["slaProperties"], "latency"),
        rules=tuple(_rule(each) for each in table["quality"]),
        ledger_ticker=custom.get("ledgerTicker", ""),
        ledger_time=custom.get("ledgerTime", ""),
        ledger_sum_a=custom.get("ledgerSumA", ""),
        ledger_sum_b=custom.get("ledgerSumB", ""),
        generated_columns=tuple(
            (each["name"], each["type"], each["expression"])
            for each in custom.get("hotGeneratedColumns", ())
        ),
        excluded_conditions=tuple(custom.get("excludedConditions", ())),
    )


def _column(each: Mapping[str, Any]) -> Column:
    custom = _custom(each)
    return Column(
        name=each["name"],
        id=int(custom["fieldId"]),
        type=TYPES[each["physicalType"]],
        physical_type=each["physicalType"],
        required=bool(each["required"]),
        unit=custom.get("unit", ""),
        description=each["description"],
        since=custom.get("since", ""),
        sources=tuple(each.get("transformSourceObjects", ())),
        transform=each.get("transformLogic", ""),
        deprecated_since=_day(custom, "deprecatedSince"),
        goes_after=_day(custom, "goesAfter"),
        replaced_by=custom.get("replacedBy", ""),
    )


def _day(custom: Mapping[str, Any], name: str) -> date | None:
    """Return a date, as YAML reads 2026-11-25; ValueError for anything else."""
    found = custom.get(name)
    if found is None or type(found) is date:
        return found
    raise ValueError(f"{name}: {found!r} is no date, write 2026-11-25")


def _rule(each: Mapping[str, Any]) -> Rule:
    return Rule(each["name"], each["dimension"], each["description"], each["query"])


def _key(properties: list[Mapping[str, Any]]) -> tuple[str, ...]:
    found = [each for each in properties if each.get("primaryKey")]
    return tuple(each["name"] for each in sorted(found, key=lambda e: e["primaryKeyPosition"]))


def _promise(promises: list[Mapping[str, Any]], name: str) -> int | None:
    found = [each["value"] for each in promises if each["property"] == name]
    return int(found[0]) if found else None


def _custom(element: Mapping[str, Any]) -> dict[str, Any]:
    return {each["property"]: each["value"] for each in element.get("customProperties", ())}


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
