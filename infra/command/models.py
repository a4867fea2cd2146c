"""ticklake models."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.errors import WrongUse
from lake.settings import Settings

ROUTES = ("champion", "canary", "ab", "bandit")


@click.group()
def models() -> None:
    """Versions of trained models, and which of them is in use."""


@models.command("list")
@click.argument("model", required=False, default="")
@verb
def list_all(settings: Settings, model: str) -> Answer:
    """List the versions of every model, or of MODEL, oldest first, with their roles."""
    from feature_repo.models.registry import Registry
    from feature_repo.models.registry_place import registry_place
    from lake.clock import utc_from_us

    registry = Registry(registry_place(settings.home))
    found = registry.versions(model)
    lines = [
        f"{each.name} {each.version}  {utc_from_us(each.created_us):%Y-%m-%d %H:%M}"
        f"  {each.model_hash[:12]}  {', '.join(each.roles)}".rstrip()
        for each in found
    ]
    document = {"registry": registry.place.tracking, "versions": [asdict(each) for each in found]}
    return Answer(document, lines or ["no model"])


@models.command()
@click.argument("model")
@click.option("--log-loss-gain", type=float, default=0.001, help="Least part it must be better by.")
@click.option("--correlation-min", type=float, default=0.0, help="Least correlation with returns.")
@click.option("--rows-min", type=click.IntRange(1), default=1_000, help="Least rows trained on.")
@click.option(
    "--unseen-rows-min",
    type=click.IntRange(1),
    default=500,
    help="Least rows that neither had seen, where the two are of two releases.",
)
@verb
def promote(
    settings: Settings,
    model: str,
    log_loss_gain: float,
    correlation_min: float,
    rows_min: int,
    unseen_rows_min: int,
) -> Answer:
    """Make MODEL's challenger its champion where it meets the criteria; ends with 1 where not.

    Trained on one release, both are judged by their walk-forward tests; on two, by the rows of the
    challenger's tests that came after all that the champion knew, which the weekly training keeps.
    """
    from feature_repo.models.promotion import Criteria
    from feature_repo.models.registry import Registry
    from feature_repo.models.registry_place import registry_place
    from flows.challenger_to_champion import promote as decided
    from lake.hot.turn import turn
    from lake.state import postgres_dsn

    criteria = Criteria(log_loss_gain, correlation_min, rows_min, unseen_rows_min)
    with turn(postgres_dsn(settings.home), f"model-{model}"):
        found = decided(Registry(registry_place(settings.home)), model, criteria)
    document = {
        "model": model,
        "version": found.challenger.version,
        "before": found.champion.version if found.champion else None,
        "promoted": found.decision.promote,
        "reasons": list(found.decision.reasons),
    }
    return Answer(document, found.lines(), holds=found.decision.promote)


@models.command()
@click.argument("model")
@click.option("--champion", is_flag=True, help="All to the champion, as at first.")
@click.option(
    "--canary", type=click.FloatRange(0, 1), metavar="SHARE", help="So much to the challenger."
)
@click.option(
    "--ab", metavar="NAME", help="An experiment of this name, --share of it to the challenger."
)
@click.option(
    "--share", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Of --ab."
)
@click.option("--bandit", is_flag=True, help="By how both came out, sampled (Thompson).")
@click.option(
    "--floor",
    type=click.FloatRange(0, 0.5),
    default=0.1,
    show_default=True,
    help="Least share of each arm of --bandit.",
)
@click.option("--seed", type=click.IntRange(0, 2**53 - 1), default=0, help="Of --bandit's draws.")
@click.option(
    "--by",
    type=click.Choice(["instrument", "request"]),
    help="What is shared out: instruments (default), or their minutes (default of --bandit).",
)
@verb
def route(
    settings: Settings,
    model: str,
    champion: bool,
    canary: float | None,
    ab: str | None,
    share: float,
    bandit: bool,
    floor: float,
    seed: int,
    by: str | None,
) -> Answer:
    """Show which version of MODEL decides live, or set it; a change is in force within 5 s.

    \b
      ticklake models route direction                     # what holds, and every change of it
      ticklake models route direction --canary 0.05       # a twentieth of instruments: challenger
      ticklake models route direction --ab spring         # half of them, sticky by this name
      ticklake models route direction --bandit --floor 0.1 --seed 7
      ticklake models route direction --champion          # back

    Who goes where follows from names and seed alone, so it can be made again. Changes are tags of
    the model in MLflow, with time and user; none is taken away.
    """
    import getpass

    from feature_repo.models.registry import Registry
    from feature_repo.models.registry_place import registry_place
    from lake.clock import SystemClock, utc_from_us
    from serving.signals.route import BANDIT, CANARY, EXPERIMENT, Route
    from serving.signals.route_log import Entry, entries, keep

    asked = [
        Route() if champion else None,
        Route(CANARY, canary, by or "instrument") if canary is not None else None,
        Route(EXPERIMENT, share, by or "instrument", ab) if ab is not None else None,
        Route(BANDIT, by=by or "request", floor=floor, seed=seed) if bandit else None,
    ]
    wanted = [each for each in asked if each is not None]
    if len(wanted) > 1:
        raise WrongUse("route", "is several at once", f"one of --{', --'.join(ROUTES)}")
    registry = Registry(registry_place(settings.home))
    for each in wanted:
        keep(registry, model, Entry(SystemClock().now_us(), getpass.getuser(), each))
    found = [each for each in registry.standings() if each.name == model]
    if not found:
        raise WrongUse(f"model {model}", "is not there", "see: ticklake models list")
    kept = entries(found[0].tags)
    holds = kept[-1].route if kept else Route()
    lines = [f"{model}: {holds.words()}"]
    lines += [
        f"  {utc_from_us(each.at_us):%Y-%m-%d %H:%M:%S} {each.by}: {each.route.words()}"
        for each in reversed(kept)
    ]
    changes = [asdict(each) for each in kept]
    return Answer({"model": model, "route": asdict(holds), "changes": changes}, lines)


@models.command()
@verb
def score(settings: Settings) -> Answer:
    """Have every version in use say what it has not said yet: rows of model_predictions.

    Champion, challenger and shadow each speak of the features that came after their training, once
    a row, with the vector and what each feature added. ml_models is brought up to the registry.
    """
    from feature_repo.models.registry import Registry
    from feature_repo.models.registry_place import registry_place
    from flows.features_to_predictions import score as scored
    from lake.clock import SystemClock
    from lake.state import postgres_dsn
    from lake.warehouse import warehouse_of

    registry = Registry(registry_place(settings.home))
    dsn, warehouse = postgres_dsn(settings.home), warehouse_of(settings.home)
    found = scored(dsn, warehouse, registry, SystemClock())
    lines = [each.line() for each in found]
    document = {"versions": [asdict(each) for each in found]}
    return Answer(document, lines or ["no model is in use"])


@models.command()
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE", help="Page's place.")
@verb
def monitor(settings: Settings, out: Path | None) -> Answer:
    """Measure how far models in use went from their training; write it down, and as a page.

    PSI and K-S of each feature and of the predictions, and, once labels are there, log loss and hit
    rate beside those of the tests: rows of quality_results, an alert for a champion, and a page in
    the home (models/drift.html). Ends with 1 where somebody should look at a champion.
    """
    from feature_repo.models.registry import Registry
    from feature_repo.models.registry_place import registry_place
    from flows.drift_to_page import write_page
    from flows.features_to_drift import CHAMPION, look
    from lake.clock import SystemClock
    from lake.state import postgres_dsn
    from lake.warehouse import warehouse_of

    registry = Registry(registry_place(settings.home))
    dsn, clock = postgres_dsn(settings.home), SystemClock()
    looked = look(dsn, warehouse_of(settings.home), registry, clock)
    page = write_page(settings.home, dsn, looked, clock, out)
    wrong = [each for each in looked.watched if each.role == CHAMPION and each.faults()]
    document: dict[str, Any] = {
        "run": looked.run,
        "page": str(page),
        "versions": [each.document() for each in looked.watched],
    }
    return Answer(document, [*looked.lines(), f"page {page}"], holds=not wrong)
