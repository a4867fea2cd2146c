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
    from feature_repo.feature_set import FeatureSet
    from lake.lineage.graph import Edge
    from lake.training.training_set import Lacking

PICTURES = (".png", ".svg")

SET = click.option("--set", "name", default="market", show_default=True, help="Which set.")
ANY_SET = click.option("--set", "name", help="Which set; default: every one.")
VERSION = click.option("--version", type=int, help="Of the set; default: the one in force.")


@click.group()
def features() -> None:
    """What is computed of ticks and bars, each defined once, for training and live alike."""


@features.command("list")
@ANY_SET
@VERSION
@verb
def list_(settings: Settings, name: str | None, version: int | None) -> Answer:
    """List the features of the sets: rows they look back on, and formula."""
    found = sets(name, version)
    lines = []
    for each in found:
        said = f"{len(each.features)} features of {each.rows}, in {each.dataset}"
        lines += [f"set {each.name}, version {each.version}: {said}", *map(line, each.features)]
    return Answer(
        {
            "sets": [
                {
                    "set": each.name,
                    "version": each.version,
                    "rows": each.rows,
                    "dataset": each.dataset,
                    "features": [document(feature) for feature in each.features],
                }
                for each in found
            ]
        },
        lines,
    )


@features.command()
@click.argument("feature")
@ANY_SET
@VERSION
@verb
def show(settings: Settings, feature: str, name: str | None, version: int | None) -> Answer:
    """Say all of one feature: formula, who defined it so, inputs, and when it is null."""
    asked = sets(name, version)
    of = next((each for each in asked if feature in each.names), asked[0])
    found = of.feature(feature)
    meaning = (found.function.__doc__ or "").strip().splitlines()
    lines = [
        f"{found.name}, version {found.version}, of set {of.name}, version {of.version}",
        f"  formula   {found.formula}",
        f"  source    {found.source}",
        f"  inputs    {', '.join(found.inputs)}",
        f"  lookback  {found.lookback} {of.rows}, the last that there are; null with fewer",
        *(f"  {each.strip()}".rstrip() for each in meaning),
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
    """Say which columns of its rows and which features each feature is made of.

    \b
      ticklake features graph -o features.svg
    """
    from feature_repo.feature_set import feature_set
    from infra.command.lineage import draw

    if output is not None and output.suffix.lower() not in PICTURES:
        raise WrongUse(f"-o {output}", "is no picture", f"name it {' or '.join(PICTURES)}")
    found = feature_set(name, version)
    if output is not None:
        edges = [edge for each in found.features for edge in made_of(each, found)]
        draw(edges, [f"features.{each}" for each in found.names], output)
    return Answer(
        {each.name: list(each.inputs) for each in found.features},
        [f"{each.name:24} < {', '.join(each.inputs)}" for each in found.features],
    )


@features.command()
@click.option("--set", "names", multiple=True, help="Which set, and again; default: all.")
@click.option("--online", is_flag=True, help="Serve the newest of every set, too.")
@verb
def materialize(settings: Settings, names: tuple[str, ...], online: bool) -> Answer:
    """Add to each set's table what new and changed bars, quotes and scores make.

    Of bars of 1m, 5m, 1h and 1d, and of quotes by the minute. The same call twice adds nothing, and
    may be killed at any point. Every five minutes it runs by itself, and so does --online: of every
    set, whatever --set says, the newest values of each series go to Redis or Valkey, in Feast's
    format. It needs no Prefect server.
    """
    from feature_repo.feature_set import IN_FORCE
    from flows.every_feature_set import every_set
    from lake.lineage.destination import destination
    from lake.state import postgres_dsn
    from lake.warehouse import warehouse_of

    dsn, warehouse = postgres_dsn(settings.home), warehouse_of(settings.home)
    namespace = destination(settings).namespace
    made = every_set(dsn, warehouse, names=names or tuple(IN_FORCE), namespace=namespace)
    document: dict[str, Any] = {
        each.name: {
            "put": each.step.put,
            "series": each.step.series,
            "snapshots": list(each.step.snapshots),
        }
        for each in made
    }
    lines = [each.line() for each in made]
    if online:
        from flows.features_to_online import FeaturesToOnline
        from lake.state import valkey_url

        url = valkey_url(settings.home)
        with FeaturesToOnline(dsn, warehouse, url, namespace=namespace) as writer:
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


def sets(name: str | None, version: int | None) -> list[FeatureSet]:
    """Return the set of a name, or those in force; WrongUse where there is no such."""
    from feature_repo.feature_set import IN_FORCE, feature_set

    if name is None and version is not None:
        name = "market"
    return [feature_set(each, version) for each in ([name] if name else IN_FORCE)]


def line(feature: Feature) -> str:
    """Return a feature in a line."""
    return f"{feature.name:24} v{feature.version} {feature.lookback:4} rows  {feature.formula}"


def made_of(feature: Feature, of: FeatureSet) -> list[Edge]:
    """Return an edge an input."""
    from feature_repo.feature import END_S
    from lake.lineage.graph import Edge

    given = {each: f"{of.sources[-1]}.{each}" for each in of.given}
    given[END_S] = f"{of.sources[0]}.event_time"
    return [
        Edge(
            given.get(each, f"features.{each}"),
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
