"""ticklake models."""

from __future__ import annotations

from dataclasses import asdict

import click

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.settings import Settings


@click.group()
def models() -> None:
    """Versions of trained models, and which of them is in use."""


@models.command("list")
@click.argument("model", required=False, default="")
@verb
def list_all(settings: Settings, model: str) -> Answer:
    """List the versions of every model, or of MODEL, oldest first, with their roles."""
    from feature_repo.models.registry import Registry, registry_place
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
@verb
def promote(
    settings: Settings, model: str, log_loss_gain: float, correlation_min: float, rows_min: int
) -> Answer:
    """Make MODEL's challenger its champion where it meets the criteria; ends with 1 where not.

    Both are judged by their walk-forward tests on the same release.
    """
    from feature_repo.models.promotion import Criteria
    from feature_repo.models.registry import Registry, registry_place
    from flows.challenger_to_champion import promote as decided
    from lake.hot.turn import turn
    from lake.state import postgres_dsn

    criteria = Criteria(log_loss_gain, correlation_min, rows_min)
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
