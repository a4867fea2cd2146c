"""ticklake contracts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.clock import SystemClock, utc_from_us
from lake.contracts import compare
from lake.contracts.contract import DATASETS, load
from lake.contracts.data_dictionary import markdown
from lake.errors import WrongUse
from lake.settings import Settings


@click.group()
def contracts() -> None:
    """What each dataset promises."""


@contracts.command()
@verb
def check(settings: Settings) -> Answer:
    """Compare the contracts with their last release.

    Ends with 1 when a promise is broken.
    """
    findings = compare.check(utc_from_us(SystemClock().now_us()).date())
    lines = [str(finding) for finding in findings]
    kept = f"{len(DATASETS)} contracts keep what was released"
    return Answer(
        {"holds": not findings, "findings": [asdict(finding) for finding in findings]},
        lines or [kept],
        holds=not findings,
    )


@contracts.command()
@click.option(
    "-o", "folder", type=click.Path(path_type=Path), help="Where to; default lake/contracts/avro."
)
@verb
def export(settings: Settings, folder: Path | None) -> Answer:
    """Write the Avro schema of every released version that has none yet.

    A schema that is there stays as it is; `contracts check` holds them against the contracts.
    """
    from infra.contracts import export as avro

    found = avro.released()
    written = avro.export(found, folder or avro.package_folder("avro"))
    paths = [str(path) for path in written]
    return Answer({"written": paths}, paths or [f"all {len(found)} schemas are there"])


@contracts.command()
@verb
def publish(settings: Settings) -> Answer:
    """Register the Avro schemas at TICKLAKE_SCHEMA_REGISTRY_URL, every version in order.

    The registry is asked to refuse breaks from then on. The same call twice changes nothing.
    """
    from infra.contracts.export import released
    from infra.contracts.registry import Registry

    if not settings.schema_registry_url:
        raise WrongUse("contracts publish", "no registry", "set TICKLAKE_SCHEMA_REGISTRY_URL")
    registry = Registry(settings.schema_registry_url, settings.schema_registry_key)
    found = registry.publish(released())
    return Answer({"registered": [asdict(e) for e in found]}, [each.line() for each in found])


@contracts.command()
@click.argument("name")
@click.option("--owner", default="market-data", show_default=True, help="Team that answers for it.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("."),
    show_default="this folder",
    help="Checkout of ticklake to write to.",
)
@verb
def new(settings: Settings, name: str, owner: str, into: Path) -> Answer:
    """Write the parts of a new dataset: contract, migration, flow, and the suite of its promises.

    They pass `contracts check` and their tests as they are. Say in the contract what the dataset
    is and what its columns mean, before it lands: from then on it changes by addition only.
    """
    from infra.contracts.scaffold import scaffold, write

    made = scaffold(name, owner, into)
    write(made)
    paths = sorted(str(path.relative_to(into)) for path in made)
    return Answer({"name": name, "files": paths}, paths)


@contracts.command()
@click.argument("datasets", nargs=-1, metavar="[DATASET]...", type=click.Choice(DATASETS))
@verb
def show(settings: Settings, datasets: tuple[str, ...]) -> Answer:
    """Print the data dictionary, of all datasets or these, as Markdown."""
    chosen = datasets or DATASETS
    return Answer({name: asdict(load(name)) for name in chosen}, [markdown(chosen)])
