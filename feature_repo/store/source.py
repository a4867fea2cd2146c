"""A table of features in the lake, as Feast's registry names it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from feast.data_source import DataSource
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto
from feast.repo_config import RepoConfig
from feast.value_type import ValueType

from lake.contracts.contract import load

EVENT, AVAILABLE = "event_time", "available_time"
CLASS = "feature_repo.store.source.LakeSource"

FEAST_TYPES = {
    "string": ValueType.STRING,
    "double": ValueType.DOUBLE,
    "long": ValueType.INT64,
    "timestamptz": ValueType.UNIX_TIMESTAMP,
}


class LakeSource(DataSource):
    """One version of a set in one dataset; its rows are joined by both of their times.

    dataset: a view of the lake with a contract; set_version: rows of this version count alone.
    """

    def __init__(self, *, name: str, dataset: str, set_version: int, description: str = "") -> None:
        super().__init__(
            name=name,
            timestamp_field=EVENT,
            created_timestamp_column=AVAILABLE,
            description=description,
        )
        self.dataset = dataset
        self.set_version = set_version

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, LakeSource)
            and bool(super().__eq__(other))
            and (self.dataset, self.set_version) == (other.dataset, other.set_version)
        )

    def __hash__(self) -> int:
        return int(super().__hash__())

    @staticmethod
    def from_proto(data_source: DataSourceProto) -> LakeSource:
        """Return the source that a registry holds."""
        held = json.loads(data_source.custom_options.configuration)
        return LakeSource(
            name=data_source.name,
            dataset=held["dataset"],
            set_version=held["set_version"],
            description=data_source.description,
        )

    def _to_proto_impl(self) -> DataSourceProto:
        held = {"dataset": self.dataset, "set_version": self.set_version}
        return DataSourceProto(
            name=self.name,
            type=DataSourceProto.CUSTOM_SOURCE,
            data_source_class_type=CLASS,
            timestamp_field=self.timestamp_field,
            created_timestamp_column=self.created_timestamp_column,
            description=self.description,
            custom_options=DataSourceProto.CustomSourceOptions(
                configuration=json.dumps(held).encode()
            ),
        )

    def source_type(self) -> Any:
        """Return Feast's word for sources that it does not know."""
        return DataSourceProto.CUSTOM_SOURCE

    def validate(self, config: RepoConfig) -> None:
        """Raise WrongUse when there is no contract of the dataset; no server is asked."""
        load(self.dataset)

    @staticmethod
    def source_datatype_to_feast_value_type() -> Callable[[str], ValueType]:
        """Return what tells Feast's type of a contract's."""
        return lambda name: FEAST_TYPES.get(name, ValueType.UNKNOWN)

    def get_table_column_names_and_types(self, config: RepoConfig) -> Iterable[tuple[str, str]]:
        """Return the columns of the contract, with its types."""
        return [(each.name, str(each.type)) for each in load(self.dataset).columns]

    def get_table_query_string(self) -> str:
        """Return the view's name, for SQL of `ticklake sql`."""
        return self.dataset
