"""The network of assets under Prefect: of the newest windows, each hour."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.place import place_of
from flows.scheduled.schedule import Schedule
from flows.scheduled.tries import in_one, tried
from lake.parts import ShowPart

EDGES_S_MAX = 900


@tried("draw the network")
def draw_network(home: Path | None, show: ShowPart) -> list[str]:
    """Publish the edges of the newest windows; what draws them takes seconds to load."""
    place = place_of(home)
    drawn = import_module("flows.bars_to_asset_edges").draw(place.dsn, place.warehouse, show=show)
    return [each.line() for each in drawn]


@flow(name="bars-to-asset-edges", timeout_seconds=EDGES_S_MAX)
def bars_to_asset_edges(home: Path | None = None) -> list[str]:
    """The network of assets: correlations, leads and clusters of the newest windows of bars."""
    with in_one("asset edges") as show:
        lines = draw_network(home, show)
    create_markdown_artifact("\n".join(f"- {line}" for line in lines), key="asset-edges")
    return lines


ASSET_EDGES = Schedule(
    "asset-edges", bars_to_asset_edges, timedelta(hours=1), at=timedelta(minutes=20)
)
