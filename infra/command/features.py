"""ticklake features."""

from __future__ import annotations

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
@verb
def materialize(settings: Settings) -> Answer:
    """Add to features_market what new and changed bars make, of 1m, 5m, 1h and 1d.

    The same call twice adds nothing, and may be killed at any point. Every five minutes it runs by
    itself. It needs no Prefect server.
    """
    from flows.bars_to_features import BarsToFeatures
    from lake.lineage.destination import destination
    from lake.state import postgres_dsn
    from lake.warehouse import warehouse_of

    dsn, warehouse = postgres_dsn(settings.home), warehouse_of(settings.home)
    namespace = destination(settings).namespace
    with BarsToFeatures(dsn, warehouse, namespace=namespace) as maker:
        step = maker.step()
    document = {"put": step.put, "series": step.series, "snapshots": list(step.snapshots)}
    return Answer(document, [step.line() if step.put else "nothing has changed"])


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
