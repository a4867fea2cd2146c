"""What is served of which column of the lake: a change of a feature names its views."""

from __future__ import annotations

from collections.abc import Iterator

from feature_repo.store.views import VIEWS
from lake.lineage.graph import Edge

PREFIX = "online."
"""A view stands in the graph as `online.<view>`, a column a feature."""


def served_edges() -> Iterator[Edge]:
    """Yield an edge from every column that a view serves to the view's."""
    for view in VIEWS:
        how = f"newest of each series, served for {view.ttl.days} days"
        for name in view.columns:
            yield Edge(f"{view.of.dataset}.{name}", f"{PREFIX}{view.name}.{name}", how)
