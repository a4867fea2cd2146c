"""ticklake train."""

from __future__ import annotations

from pathlib import Path

import click

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.errors import WrongUse
from lake.settings import Settings
from lake.state import postgres_dsn


@click.command()
@click.argument("model")
@click.option(
    "--rows",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="Parquet file of the training set: times, label and features.",
)
@click.option("--release", required=True, help="Release that its rows were read from.")
@click.option("--features", default="", help="Its features, joined by commas; none: all doubles.")
@click.option("--label", default="label", help="What the label is, in words.")
@click.option("--folds", type=click.IntRange(1, 100), default=4, help="Walk-forward tests.")
@click.option("--embargo", type=click.IntRange(0), default=0, help="Seconds before each test.")
@click.option("--rounds", type=click.IntRange(1, 5_000), default=300, help="Most of the trees.")
@click.option("--seed", type=click.IntRange(0), default=20251010, help="Of every random choice.")
@verb
def train(
    settings: Settings,
    model: str,
    rows: Path,
    release: str,
    features: str,
    label: str,
    folds: int,
    embargo: int,
    rounds: int,
    seed: int,
) -> Answer:
    """Train MODEL on a training set and enter it in the registry, as challenger.

    FILE has event_time, available_time, label_end_time, label_available_time, label_value,
    label_side (-1, 0, 1) and a double a feature. Rows without a feature are left out; NaN, leaks
    and labels out of balance are refused. Tests walk forward, purged of labels that reach into
    them; the same rows and seed give the same model: `ticklake verify RECEIPT` trains it again from
    FILE. `ticklake models promote MODEL` decides whether it is to be used.
    """
    import psycopg
    import pyarrow as pa

    from feature_repo.models.registry import Registry, registry_place
    from feature_repo.models.rows import LABELS
    from feature_repo.models.trees import TreeRecipe
    from flows.challenger_to_champion import CHALLENGER
    from flows.features_to_model import Order, read_rows, train_model
    from lake.clock import SystemClock
    from lake.hot.turn import turn
    from lake.receipts.receipt import FOLDER, save
    from lake.releases.release import parts_of

    dsn = postgres_dsn(settings.home)
    with psycopg.connect(dsn) as connection:
        parts_of(connection, release)
    table = read_rows(rows)
    doubles = [each.name for each in table.schema if pa.types.is_float64(each.type)]
    named = [each.strip() for each in features.split(",") if each.strip()]
    chosen = tuple(named or [name for name in doubles if name not in LABELS])
    if not chosen:
        raise WrongUse(str(rows), "has no column of doubles", "name features with --features")
    recipe = TreeRecipe(rounds=rounds, seed=seed)
    order = Order(
        model,
        release,
        chosen,
        label,
        recipe=recipe,
        folds=folds,
        embargo_us=embargo * 1_000_000,
        rows=str(rows.resolve()),
    )
    with turn(dsn, f"model-{model}"):
        registry = Registry(registry_place(settings.home))
        made = train_model(table, order, registry, SystemClock())
        registry.set_role(model, made.version.version, CHALLENGER)
    receipt = save(made.receipt, settings.home / FOLDER)
    document = {
        "model": model,
        "version": made.version.version,
        "run": made.version.run_id,
        "hash": made.version.model_hash,
        "metrics": dict(made.trained.metrics),
        "receipt": str(receipt),
    }
    return Answer(document, [made.line(), f"receipt {receipt}"])
