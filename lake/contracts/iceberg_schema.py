"""A contract as an Iceberg schema, partition spec and sort order."""

from __future__ import annotations

from collections.abc import Mapping

from pyiceberg.partitioning import PARTITION_FIELD_ID_START, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import NullOrder, SortDirection, SortField, SortOrder
from pyiceberg.transforms import DayTransform, IdentityTransform
from pyiceberg.types import (
    BinaryType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    NestedField,
    PrimitiveType,
    StringType,
    TimestamptzType,
)

from lake.contracts.contract import ColumnType, Contract

ICEBERG_TYPES: Mapping[ColumnType, PrimitiveType] = {
    "text": StringType(),
    "decimal": DecimalType(28, 10),
    "total": DecimalType(38, 10),
    "product": DecimalType(38, 20),
    "digest": DecimalType(38, 0),
    "time": TimestamptzType(),
    "int16": IntegerType(),  # Iceberg has no smaller one
    "int32": IntegerType(),
    "int64": LongType(),
    "binary": BinaryType(),
    "double": DoubleType(),
}


def iceberg_schema(contract: Contract) -> Schema:
    """Return the columns under the contract's field ids, meanings as their documentation."""
    return Schema(
        *(
            NestedField(
                field_id=column.id,
                name=column.name,
                field_type=ICEBERG_TYPES[column.type],
                required=column.required,
                doc=column.meaning,
            )
            for column in contract.columns
        )
    )


def partition_spec(contract: Contract) -> PartitionSpec:
    """Return the spec, for instance day(event_time) as event_time_day; empty for no partitions."""
    if not contract.partition_column:
        return PartitionSpec()
    column = contract.column(contract.partition_column)
    return PartitionSpec(
        PartitionField(
            source_id=column.id,
            field_id=PARTITION_FIELD_ID_START,
            transform=DayTransform(),
            name=f"{column.name}_{contract.partition_transform}",
        )
    )


def sort_order(contract: Contract) -> SortOrder:
    """Return the order that compaction sorts by, ascending, nulls first."""
    return SortOrder(
        *(
            SortField(
                source_id=contract.column(name).id,
                transform=IdentityTransform(),
                direction=SortDirection.ASC,
                null_order=NullOrder.NULLS_FIRST,
            )
            for name in contract.sort
        )
    )
