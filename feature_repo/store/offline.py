"""Feast's offline store on the lake: `get_historical_features` is lake.training's join.

Feast's own joins take minutes or drop rows that have no value; this one keeps every row, by both
times, within bounded memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureView, OnDemandFeatureView, RepoConfig
from feast.data_source import DataSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel

from feature_repo.store.place import home_of
from feature_repo.store.source import AVAILABLE, EVENT, LakeSource
from lake.errors import WrongUse
from lake.state import postgres_dsn
from lake.training.feature_table import FeatureTable
from lake.training.join import PROBE
from lake.training.training_set import training_set
from lake.views.client import Client
from lake.views.engine import quote
from lake.warehouse import warehouse_of

TIME_COLUMN = "event_timestamp"
"""Feast's name of the rows' time."""

EITHER = f"{TIME_COLUMN}, or only one column of times"

NEVER = timedelta(days=36_500)
"""When values of a view without a ttl grow too old."""


class LakeOfflineStoreConfig(FeastConfigBaseModel):
    """home: the lakehouse; without, TICKLAKE_HOME or the one beside the definitions.

    release: values of this release alone; without, of what there is now.
    """

    type: Literal["feature_repo.store.offline.LakeOfflineStore"] = (
        "feature_repo.store.offline.LakeOfflineStore"
    )
    home: str = ""
    release: str = ""


@dataclass
class LakeJob(RetrievalJob):
    """Rows that are made when they are asked for, as often as that."""

    make: Callable[[], pa.Table]
    names: Sequence[str] = ()
    keys: Sequence[str] = ()
    on_demand: list[OnDemandFeatureView] = field(default_factory=list)
    full_names: bool = False

    @property
    def full_feature_names(self) -> bool:
        """Tell whether names are `view__feature`."""
        return self.full_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """Return what Feast computes from the rows."""
        return self.on_demand

    @property
    def metadata(self) -> RetrievalMetadata:
        """Return what was asked for."""
        return RetrievalMetadata(features=list(self.names), keys=list(self.keys))

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self.make()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self.make().to_pandas()

    def persist(self, storage: Any, allow_overwrite: bool = False, timeout: Any = None) -> None:
        """Refuse: a release is what keeps rows."""
        raise WrongUse(
            "saved dataset", "the lake is written by its flows", "ticklake features join"
        )


class LakeOfflineStore(OfflineStore):
    """Reads a home's lake; writes nothing."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **others: Any,
    ) -> RetrievalJob:
        """Return every row of entity_df with the values that stood at its time, in its order.

        entity_df: a frame, or SQL over the lake's views; its time is event_timestamp, or its only
        column of times. Null where nothing stood. Raises WrongUse without it.
        """
        if entity_df is None:
            fault = "rows without keys and times join nothing"
            raise WrongUse("entity_df", fault, "give a frame or SQL")
        tables = [_table(each, feature_refs, full_feature_names) for each in feature_views]

        def make() -> pa.Table:
            with _client(config) as client:
                return _joined(client, entity_df, tables)

        return LakeJob(
            make,
            feature_refs,
            tables[0].keys,
            OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            full_feature_names,
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """Return each series' newest value of a stretch of time, for `feast materialize`."""
        keys = ", ".join(f'"{each}"' for each in join_key_columns)
        newest = (
            f" QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {EVENT} DESC,"
            f" {AVAILABLE} DESC, recorded_time DESC) = 1"
        )
        names = [*join_key_columns, *feature_name_columns]
        return _pulled(config, data_source, names, (start_date, end_date), newest)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Return every version of every value of a stretch of time; both ends inclusive."""
        names = [*join_key_columns, *feature_name_columns]
        return _pulled(config, data_source, names, (start_date, end_date), "")

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Any
    ) -> None:
        """Refuse: the lake's features have one writer, from bars."""
        fault = "features of the lake are made of its bars alone"
        raise WrongUse(feature_view.name, fault, "push to the online store: PushMode.ONLINE")


def _client(config: RepoConfig) -> Client:
    home = home_of(config.repo_path, config.offline_store.home)
    release = config.offline_store.release or None
    return Client(postgres_dsn(home), warehouse_of(home), release=release)


def _source(of: Any) -> LakeSource:
    if not isinstance(of, LakeSource):
        raise WrongUse("offline store", f"{of.name} is no table of the lake", "use a LakeSource")
    return of


def _table(view: FeatureView, refs: Sequence[str], full_names: bool) -> FeatureTable:
    """Return what a view's features, of those asked for, join by."""
    shown = str(view.projection.name_to_use())
    wanted = {ref.partition(":")[2] for ref in refs if ref.partition(":")[0] == shown}
    source = _source(view.batch_source)
    return FeatureTable(
        source.dataset,
        tuple(each.name for each in view.features if each.name in wanted),
        view.ttl or NEVER,
        keys=tuple(view.join_keys),
        fixed={"set_version": source.set_version},
        prefix=f"{shown}__" if full_names else "",
    )


def _joined(client: Client, rows: pd.DataFrame | str, tables: Sequence[FeatureTable]) -> pa.Table:
    probes = client.arrow(rows) if isinstance(rows, str) else _plain(rows)
    with tempfile.TemporaryDirectory(prefix="ticklake-feast-") as folder:
        out = Path(folder) / "rows.parquet"
        training_set(client, probes, tables, out, time=_time_of(probes), lacking="null")
        made = pq.read_table(out)
    return made.sort_by(PROBE).drop_columns([PROBE])


def _plain(rows: pd.DataFrame) -> pa.Table:
    """Return a frame as a table; text in one type, so that keys compare."""
    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata()
    texts = [pa.string() if pa.types.is_large_string(t) else t for t in table.schema.types]
    return table.cast(pa.schema(list(zip(table.column_names, texts, strict=True))))


def _time_of(rows: pa.Table) -> str:
    times = [each.name for each in rows.schema if pa.types.is_timestamp(each.type)]
    if TIME_COLUMN in times:
        return TIME_COLUMN
    if len(times) != 1:
        raise WrongUse("entity_df", f"its time is unclear: {times or 'none there'}", EITHER)
    return str(times[0])


def _pulled(
    config: RepoConfig,
    data_source: DataSource,
    names: Sequence[str],
    span: tuple[datetime | None, datetime | None],
    newest: str,
) -> LakeJob:
    source = _source(data_source)
    conditions = [f"set_version = {source.set_version}"]
    for sign, moment in zip((">=", "<="), span, strict=True):
        if moment is not None:
            conditions.append(f"{EVENT} {sign} {quote(moment.isoformat())}::TIMESTAMPTZ")
    columns = ", ".join(f'"{each}"' for each in (*names, EVENT, AVAILABLE))
    query = f"SELECT {columns} FROM {source.dataset} WHERE {' AND '.join(conditions)}{newest}"

    def make() -> pa.Table:
        with _client(config) as client:
            return client.arrow(query)

    return LakeJob(make, keys=names)
