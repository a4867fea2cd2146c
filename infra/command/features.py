"""ticklake features."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.errors import WrongUse
from lake.settings import Settings

if TYPE_CHECKING:
    from feature_repo.feature import Feature
    from lake.lineage.graph import Edge
    from lake.training.training_set import Lacking

PICTURES = (".png", ".svg")

SET = click.option("--set", "name", default="market", show_default=True, help="Which set.")
VERSION = click.option("--version", type=int, help="Of the set; default: the one in force.")


@click.group()
def features() -> None:
    """What is computed of bars, each defined once, for training and live alike."""


@features.command("list")
@SET
@VERSION
@verb
def list_(settings: Settings, name: str, version: int | None) -> Answer:
    """List the features of a set: bars they look back on, and formula."""
    from feature_repo.feature_set import feature_set

    found = feature_set(name, version)
    lines = [
        f"{each.name:24} v{each.version} {each.lookback:4} bars  {each.formula}"
        for each in found.features
    ]
    return Answer(
        {
            "set": found.name,
            "version": found.version,
            "features": [document(each) for each in found.features],
        },
        [f"set {found.name}, version {found.version}: {len(lines)} features", *lines],
    )


@features.command()
@click.argument("feature")
@SET
@VERSION
@verb
def show(settings: Settings, feature: str, name: str, version: int | None) -> Answer:
    """Say all of one feature: formula, who defined it so, inputs, and when it is null."""
    from feature_repo.feature_set import feature_set

    found = feature_set(name, version).feature(feature)
    meaning = (found.function.__doc__ or "").strip().splitlines()
    lines = [
        f"{found.name}, version {found.version}",
        f"  formula   {found.formula}",
        f"  source    {found.source}",
        f"  inputs    {', '.join(found.inputs)}",
        f"  lookback  {found.lookback} bars of the series, as they are; null with fewer",
        *(f"  {line.strip()}".rstrip() for line in meaning),
    ]
    return Answer(document(found), lines)


@features.command()
@click.option(
    "-o", "output", type=click.Path(path_type=Path), help="Draw it, to a file .png or .svg."
)
@SET
@VERSION
@verb
def graph(settings: Settings, output: Path | None, name: str, version: int | None) -> Answer:
    """Say which columns of bars and which features each feature is made of.

    \b
      ticklake features graph -o features.svg
    """
    from feature_repo.feature_set import feature_set
    from infra.command.lineage import draw

    if output is not None and output.suffix.lower() not in PICTURES:
        raise WrongUse(f"-o {output}", "is no picture", f"name it {' or '.join(PICTURES)}")
    found = feature_set(name, version)
    if output is not None:
        edges = [edge for each in found.features for edge in made_of(each)]
        draw(edges, [f"features.{each}" for each in found.names], output)
    return Answer(
        {each.name: list(each.inputs) for each in found.features},
        [f"{each.name:24} < {', '.join(each.inputs)}" for each in found.features],
    )


@features.command()
@click.option("--online", is_flag=True, help="Serve the newest of them, too.")
@verb
def materialize(settings: Settings, online: bool) -> Answer:
    """Add to features_market what new and changed bars make, of 1m, 5m, 1h and 1d.

    The same call twice adds nothing, and may be killed at any point. Every five minutes it runs by
    itself, and so does --online: the newest value of each series goes to Redis or Valkey, in
    Feast's format. It needs no Prefect server.
    """
    from flows.bars_to_features import BarsToFeatures
    from lake.lineage.destination import destination
    from lake.state import postgres_dsn
    from lake.warehouse import warehouse_of

    dsn, warehouse = postgres_dsn(settings.home), warehouse_of(settings.home)
    namespace = destination(settings).namespace
    with BarsToFeatures(dsn, warehouse, namespace=namespace) as maker:
        step = maker.step()
    document: dict[str, Any] = {
        "put": step.put,
        "series": step.series,
        "snapshots": list(step.snapshots),
    }
    lines = [step.line() if step.put else "nothing has changed"]
    if online:
        from flows.features_to_online import FeaturesToOnline
        from lake.state import valkey_url

        with FeaturesToOnline(dsn, warehouse, valkey_url(settings.home)) as writer:
            served = writer.step()
        document["online"] = asdict(served)
        lines.append(served.line())
    return Answer(document, lines)


@features.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "-o", "output", type=click.Path(path_type=Path), required=True, help="Parquet file to write."
)
@click.option("--view", default="market_v1", show_default=True, help="Which features.")
@click.option("--features", "names", default="", help="Of the view, joined by commas; default all.")
@click.option("--time", default="event_time", show_default=True, help="The rows' column of times.")
@click.option("--release", help="Values of this release; default: of what there is now.")
@click.option("--null", is_flag=True, help="Go on where the lake does not reach as far as FILE.")
@verb
def join(
    settings: Settings,
    file: Path,
    output: Path,
    view: str,
    names: str,
    time: str,
    release: str | None,
    null: bool,
) -> Answer:
    """Add to the rows of FILE the features that were known at their times; every row stays.

    FILE is Parquet with ticker, exchange, market, interval and a column of times; what else it has
    comes along. Null where no value stood: none known, or older than a week.

    \b
      ticklake features join rows.parquet -o training.parquet --release R
    """
    from feature_repo.store.views import view as view_of
    from lake.state import postgres_dsn
    from lake.training.training_set import training_set
    from lake.views.client import Client
    from lake.warehouse import warehouse_of

    if not file.is_file():
        raise WrongUse(str(file), "there is no such file", "name a Parquet file")
    found = view_of(view)
    columns = tuple(each.strip() for each in names.split(",") if each.strip())
    for column in columns:
        found.of.feature(column)
    dsn, warehouse = postgres_dsn(settings.home), warehouse_of(settings.home)
    with Client(dsn, warehouse, release=release) as client:
        lacking: Lacking = "null" if null else "refuse"
        made = training_set(
            client, file, [found.table(columns)], output, time=time, lacking=lacking
        )
    document = {"path": str(made.path), "rows": made.rows, "release": made.release}
    return Answer(document, [f"{made.rows:,} rows with {view}: {made.path}"])


def made_of(feature: Feature) -> list[Edge]:
    """Return an edge an input."""
    from feature_repo.feature import BAR_INPUTS, END_S
    from lake.lineage.graph import Edge

    names = {END_S: "event_time"}
    return [
        Edge(
            f"bars.{names.get(each, each)}" if each in BAR_INPUTS else f"features.{each}",
            f"features.{feature.name}",
            feature.formula,
        )
        for each in feature.inputs
    ]


def document(feature: Feature) -> dict[str, Any]:
    """Return what is declared of a feature."""
    return {
        "name": feature.name,
        "version": feature.version,
        "lookback": feature.lookback,
        "inputs": list(feature.inputs),
        "formula": feature.formula,
        "source": feature.source,
    }
