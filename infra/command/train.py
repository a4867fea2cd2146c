"""ticklake train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.errors import WrongUse
from lake.settings import Settings
from lake.state import postgres_dsn

if TYPE_CHECKING:
    import pyarrow as pa

    from flows.features_to_model import Order
    from flows.release_to_training_rows import Ask
    from lake.receipts.receipt import Inputs


@click.command()
@click.argument("model")
@click.option("--release", required=True, help="Release to train on.")
@click.option("--interval", default="1m", show_default=True, help="Bars' interval.")
@click.option("--tickers", metavar="A,B,...", default="", help="Only these; default all.")
@click.option("--from", "since", default="", metavar="TIME", help="First bar's end.")
@click.option("--to", "until", default="", metavar="TIME", help="Bars' ends before this.")
@click.option(
    "--label",
    type=click.Choice(["forward", "barrier"]),
    default="forward",
    show_default=True,
    help="The return that follows, or the first of two barriers that the price meets.",
)
@click.option(
    "--horizon", type=click.IntRange(1, 10_000), default=15, show_default=True, help="In bars."
)
@click.option(
    "--dead-band",
    type=click.FloatRange(0.0, 1.0),
    default=0.0002,
    show_default=True,
    help="A forward return up to this, either way, is neither up nor down.",
)
@click.option(
    "--features",
    default="",
    help="Features or whole sets (market, microstructure, sentiment, cross_asset), joined by"
    " commas; default all of market.",
)
@click.option(
    "--rows",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Train on this Parquet file's rows, read from the release by other means.",
)
@click.option(
    "--predictions",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write what the tests predicted, for a backtest of model-signal.",
)
@click.option("--folds", type=click.IntRange(1, 100), default=4, help="Walk-forward tests.")
@click.option("--embargo", type=click.IntRange(0), default=0, help="Seconds before each test.")
@click.option(
    "--learner",
    type=click.Choice(["lightgbm", "sequence"]),
    help="Trees, or a network on windows of rows; default MODEL's where it is one, else lightgbm.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 5_000),
    help="Most of the trees, or passes over the rows; default the learner's: 300, 60.",
)
@click.option(
    "--search",
    type=click.IntRange(1, 1_000),
    metavar="N",
    help="Try N recipes in each fold, and on all rows; default none but the learner's own.",
)
@click.option("--partly", is_flag=True, help="Train also where a part of the span is lacking.")
@click.option("--seed", type=click.IntRange(0), default=20251010, help="Of every random choice.")
@verb
def train(
    settings: Settings,
    model: str,
    release: str,
    interval: str,
    tickers: str,
    since: str,
    until: str,
    label: str,
    horizon: int,
    dead_band: float,
    features: str,
    rows: Path | None,
    predictions: Path | None,
    folds: int,
    embargo: int,
    learner: str | None,
    rounds: int | None,
    search: int | None,
    partly: bool,
    seed: int,
) -> Answer:
    """Train MODEL on a release's bars and features and enter it in the registry, as challenger.

    Each bar is a row: the features that were known when it was, and what the price did in the next
    --horizon bars. Rows without a feature are left out; NaN, leaks and labels out of balance are
    refused, and so is a release that begins a day later or ends a day sooner than --from and --to.
    Tests walk forward, purged of labels that reach into them. The same release and seed
    give the same model: `ticklake verify RECEIPT` trains it again. `ticklake models promote MODEL`
    decides whether it is to be used.

    The learner sequence needs torch: pip install 'ticklake[torch]'. A --search looks at what early
    stopping looks at and never at a test; what it tried is kept beside the model.

    A FILE of --rows has event_time, available_time, label_end_time, label_available_time,
    label_value, label_side (-1, 0, 1) and a double a feature.
    """
    from feature_repo.feature_set import sets_beside, spelled_out
    from feature_repo.models.learner import MODULES, SEQUENCE, TREES, recipe_of
    from flows.features_to_model import Order
    from flows.release_to_training_rows import Ask

    by = learner or (model if model in MODULES else TREES)
    fields: dict[str, Any] = {"seed": seed}
    fields |= {"rounds": rounds} if rounds else {}
    fields |= {"device": settings.torch_device} if by == SEQUENCE else {}
    recipe = recipe_of(by, fields)
    require_release(settings, release)
    names = listed(features) if rows else spelled_out(listed(features))
    beside = {} if rows else sets_beside(names)
    asked = (interval, tuple(listed(tickers)), label, horizon, dead_band, since, until)
    ask = Ask(*asked, beside=beside)
    table = read(settings, release, rows, ask, whole=not partly)
    order = Order(
        model,
        release,
        chosen(table, names),
        f"{label}, {horizon} bars" if rows is None else "of the file",
        feature_versions={} if rows else ask.versions(),
        recipe=recipe,
        folds=folds,
        embargo_us=embargo * 1_000_000,
        rows=str(rows.resolve()) if rows else "",
        source={} if rows else ask.config(),
        trials=search or 0,
    )
    return entered(settings, table, order, predictions)


def listed(text: str) -> list[str]:
    """Return what stands between commas."""
    return [each.strip() for each in text.split(",") if each.strip()]


def require_release(settings: Settings, release: str) -> None:
    """Raise WrongUse where there is no such release."""
    import psycopg

    from lake.releases.release import parts_of

    with psycopg.connect(postgres_dsn(settings.home)) as connection:
        parts_of(connection, release)


def read(settings: Settings, release: str, rows: Path | None, ask: Ask, *, whole: bool) -> pa.Table:
    """Return the rows of a file, or those that are asked of the release, whole or in part."""
    from flows.features_to_model import read_rows
    from flows.release_to_training_rows import rows_of_release
    from lake.client import connect

    if rows is not None:
        return read_rows(rows)
    with connect(settings.home, release=release) as client:
        return rows_of_release(client, ask, whole=whole)


def chosen(table: pa.Table, named: Sequence[str]) -> tuple[str, ...]:
    """Return the features that are named, or all doubles; WrongUse where there are none."""
    import pyarrow as pa

    from feature_repo.models.rows import LABELS

    doubles = [each.name for each in table.schema if pa.types.is_float64(each.type)]
    found = tuple(named or [name for name in doubles if name not in LABELS])
    if not found:
        raise WrongUse("training rows", "have no column of doubles", "name some by --features")
    return found


def spanned(inputs: Inputs, order: Order) -> str:
    """Return from when to when the rows stand, beside what was asked for."""
    span = inputs.spans["training_rows"].split("/")
    first, last = (each[:16].replace("T", " ") for each in span)
    since, until = (order.source.get(each) for each in ("since", "until"))
    asked = f"; asked: {since or 'the first'} to {until or 'the last'}" if since or until else ""
    return f"rows from {first} to {last} UTC{asked}"


def warned(inputs: Inputs, order: Order) -> list[str]:
    """Return a sentence where the rows cover a part only of what was asked for."""
    from flows.held_spans import span_of_text, words
    from flows.release_to_training_rows import ask_of, lacking

    if not order.source:
        return []
    held = span_of_text(inputs.spans["training_rows"])
    asked = lacking(held, ask_of(order.source))
    if asked is None:
        return []
    return [f"warning: rows of {words(held)} only, of {words(asked)} asked for"]


def entered(settings: Settings, table: pa.Table, order: Order, predictions: Path | None) -> Answer:
    """Train, enter the version as challenger, keep its receipt, and what the tests predicted."""
    from feature_repo.models.registry import Registry
    from feature_repo.models.registry_place import registry_place
    from flows.challenger_to_champion import CHALLENGER
    from flows.features_to_model import train_model
    from flows.tests_to_predictions import write_predictions
    from lake.clock import SystemClock
    from lake.hot.turn import turn
    from lake.receipts.receipt import FOLDER, save

    with turn(postgres_dsn(settings.home), f"model-{order.name}"):
        registry = Registry(registry_place(settings.home))
        made = train_model(table, order, registry, SystemClock())
        registry.set_role(order.name, made.version.version, CHALLENGER)
    receipt = save(made.receipt, settings.home / FOLDER)
    document = {
        "model": order.name,
        "version": made.version.version,
        "run": made.version.run_id,
        "hash": made.version.model_hash,
        "metrics": dict(made.trained.metrics),
        "receipt": str(receipt),
        "span": made.receipt.inputs.spans["training_rows"],
    }
    warnings = warned(made.receipt.inputs, order)
    document["warnings"] = warnings
    said = spanned(made.receipt.inputs, order)
    lines = [made.line(), said, *warnings, f"receipt {receipt}"]
    if predictions is not None:
        count = write_predictions(table, made, predictions)
        document["predictions"] = {"path": str(predictions), "rows": count}
        lines.append(f"{count:,} predictions of the tests: {predictions}")
    return Answer(document, lines)
