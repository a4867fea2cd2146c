"""Make what analysts find in Trino: the lake's tables, and the union views over them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from lake.contracts.contract import LAKE_ONLY_DATASETS, NUMBERED_DATASETS
from lake.state import postgres_dsn
from lake.tables.catalog import ensure_table, open_catalog
from lake.tables.commit import faults_of
from lake.trino_session import connect_trino
from lake.views.trino_views import publish_views
from lake.views.union_view import UNION_DATASETS
from lake.warehouse import warehouse_of

PUBLISHED = "trino-views"
"""The file in a home's folder `run` with the digest of the views that were published last."""


def publish(home: Path) -> None:
    """Make the tables that are not there and (re)create the views; safe to call again.

    Raises Unavailable, or BadInput with the remedy where Trino lacks what the views need.
    """
    with closing(open_catalog(postgres_dsn(home), warehouse_of(home))) as catalog:
        for dataset in (*UNION_DATASETS, *NUMBERED_DATASETS, *LAKE_ONLY_DATASETS):
            with faults_of(dataset):
                ensure_table(catalog, dataset)
    known = home / "run" / PUBLISHED
    with connect_trino(home) as session:
        digest = publish_views(session, known.read_text() if known.exists() else "")
    known.parent.mkdir(exist_ok=True)
    known.write_text(digest)
