"""Train a model on rows of a release, and enter it in the registry with all that it is made of.

Beside the model lie its card, its receipt, the profiles that drift is measured from, what its
features weigh (mean |SHAP|) as numbers and as a picture, and the explanations of its newest rows.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from feature_repo.models.beside import beside
from feature_repo.models.drift import profile_of
from feature_repo.models.learner import Model, Recipe, Samples, prediction, recipe_of
from feature_repo.models.registry import Card, Registry, Version
from feature_repo.models.rows import LABELS, TIMES, Rows, rows_of
from feature_repo.models.training import Trained, train
from feature_repo.models.trees import TreeRecipe
from flows.held_spans import texts
from flows.release_to_training_rows import ask_of, rows_of_release
from lake.client import connect
from lake.clock import Clock, SystemClock, utc_from_us
from lake.errors import BadInput, WrongUse
from lake.receipts.code_version import code_hash, library_versions
from lake.receipts.digest import table_digest
from lake.receipts.receipt import Inputs, Receipt, receipt_of

KIND = "model"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
EXPLAINED_ROWS_MAX = 1_000
WEIGHED_ROWS_MAX = 5_000

RECEIPT_FILE = "receipt.json"
PROFILES_FILE = "profiles.json"
WEIGHTS_FILE = "weights.json"
WEIGHTS_PICTURE = "weights.png"
EXPLANATIONS_FILE = "explanations.parquet"
TRIALS_FILE = "trials.json"
PREDICTION = "prediction"
"""Its name among the profiles."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to train. release: that the rows were read from; features: in the vector's order.

    feature_versions: set -> version. label: what it is, in words. A receipt makes the model again
    from source, what was asked of the release, or else from rows, the training set's file ("" for
    none). trials: recipes that a search tries in each fold, 0 for none. WrongUse for no such name.
    """

    name: str
    release: str
    features: tuple[str, ...]
    label: str
    feature_versions: Mapping[str, str] = field(default_factory=dict, hash=False)
    recipe: Recipe = field(default_factory=TreeRecipe)
    folds: int = 4
    embargo_us: int = 0
    rows: str = ""
    source: Mapping[str, Any] = field(default_factory=dict, hash=False)
    trials: int = 0

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise WrongUse(f"model {self.name!r}", "is no name", f"match {NAME.pattern}")
        if not self.features or len(set(self.features)) != len(self.features):
            raise WrongUse(f"model {self.name}", "needs features, each once", "name them")

    def config(self) -> dict[str, Any]:
        """Return what was chosen, as JSON has it."""
        return {
            "learner": self.recipe.learner,
            "features": list(self.features),
            "label": self.label,
            "recipe": self.recipe.config(),
            "folds": self.folds,
            "embargo_us": self.embargo_us,
            "rows": self.rows,
            "source": dict(self.source),
            "trials": self.trials,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a training made: the version, what its tests said, its receipt."""

    version: Version
    trained: Trained
    receipt: Receipt

    def line(self) -> str:
        """Return it in words."""
        said = self.trained.metrics
        return (
            f"{self.version.name} version {self.version.version}: log loss {said['log_loss']:.4f},"
            f" hit rate {said['hit_rate']:.3f}, correlation {said['correlation']:.4f} in"
            f" {len(self.trained.folds)} tests, {said['rows']:,.0f} rows"
        )


def train_model(
    table: pa.Table, order: Order, registry: Registry, clock: Clock, *, rival: Version | None = None
) -> Outcome:
    """Train and enter the next version; raises what rows_of and Registry.register do.

    table: as feature_repo.models.rows.rows_of takes it. rival: a version of before, to be judged
    beside it on rows that neither was taught. The caller holds the model's turn.
    """
    rows, trained, receipt = _made(table, order, clock)
    facts = {
        **order.config(),
        "release": order.release,
        "feature_versions": dict(order.feature_versions),
        "seed": order.recipe.seed,
        "code": code_hash(),
        "libraries": library_versions(),
        "data": dict(receipt.inputs.data),
        "receipt": receipt.id,
        "first_time": str(utc_from_us(int(rows.event_us[0]))),
        "last_time": str(utc_from_us(int(rows.event_us[-1]))),
        "folds_said": [dict(each) for each in trained.folds],
        "chosen": trained.recipe.config(),
        "known_until_us": int(rows.known_us.max()),
        "beside": _beside(rows, trained, registry, rival),
    }
    card = Card(order.name, order.features, facts, trained.metrics)
    files = {
        RECEIPT_FILE: json.dumps(receipt.document(), indent=2) + "\n",
        PROFILES_FILE: json.dumps(_profiles(rows, trained)),
        **explained(trained.model, trained.samples),
        **_trials(trained),
    }
    return Outcome(registry.register(trained.model, card, files), trained, receipt)


def read_rows(path: Path) -> pa.Table:
    """Return a training set's file; BadInput where it can't be read."""
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        fault = str(error).partition("\n")[0]
        raise BadInput(str(path), fault, "name the training set's Parquet file") from error


def again(home: Path, receipt: Receipt) -> Receipt:
    """Train a receipt's model anew, on rows of its release or of its file; return the new receipt.

    A file needs nothing of the home. BadInput where it is gone, WrongUse where the release is;
    raises what train_again does.
    """
    source = receipt.inputs.config.get("source")
    if source:
        with connect(home, release=receipt.inputs.release) as client:
            table = rows_of_release(client, ask_of(source))
        return train_again(table, receipt, SystemClock())
    file = receipt.inputs.config.get("rows")
    if not file:
        raise BadInput(f"receipt {receipt.id}", "names no file of rows", "train from a file")
    return train_again(read_rows(Path(file)), receipt, SystemClock())


def train_again(table: pa.Table, receipt: Receipt, clock: Clock) -> Receipt:
    """Return the receipt of the same training on these rows; nothing is entered anywhere.

    lake.receipts.receipt.differences says whether rows and model are the same. BadInput for a
    receipt that is not one of a model of ours.
    """
    config = receipt.inputs.config
    if receipt.kind != KIND or "learner" not in config:
        raise BadInput(f"receipt {receipt.id}", "is not of such a model", "give a model's receipt")
    order = Order(
        receipt.name,
        receipt.inputs.release,
        tuple(config["features"]),
        config["label"],
        receipt.inputs.features,
        recipe_of(config["learner"], config["recipe"]),
        config["folds"],
        config["embargo_us"],
        config["rows"],
        config.get("source", {}),
        config.get("trials", 0),
    )
    return _made(table, order, clock)[2]


def explained(model: Model, samples: Samples) -> dict[str, str | bytes]:
    """Return the files that say why a model says what it says."""
    rows, places = samples.rows, np.arange(len(samples.rows.side))
    spread = places[:: -(-len(places) // WEIGHED_ROWS_MAX)]
    weights = np.abs(model.explain(samples.features(spread))[:, :-1]).mean(axis=0)
    named = dict(zip(rows.names, map(float, weights), strict=True))
    newest = places[-EXPLAINED_ROWS_MAX:]
    parts = model.explain(samples.features(newest))
    columns = {"event_time": pa.array(rows.event_us[newest], pa.timestamp("us", "UTC"))}
    columns |= {name: parts[:, n] for n, name in enumerate((*rows.names, "rest"))}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return {
        WEIGHTS_FILE: json.dumps(named, indent=2) + "\n",
        WEIGHTS_PICTURE: _picture(named),
        EXPLANATIONS_FILE: sink.getvalue(),
    }


def _beside(
    rows: Rows, trained: Trained, registry: Registry, rival: Version | None
) -> dict[str, Any]:
    """Return what a rival said of the newest tests; empty where it saw them all, or none is."""
    if rival is None:
        return {}
    model, card = registry.load(rival)
    if "known_until_us" not in card.facts:
        return {}
    recipe = recipe_of(card.facts["learner"], card.facts["chosen"])
    since_us = card.facts["known_until_us"]
    try:
        found = beside(rows, trained.tested, rival.version, model, recipe, since_us)
    except BadInput as error:
        return {"fault": str(error)}
    return found.document() if found else {}


def _profiles(rows: Rows, trained: Trained) -> dict[str, Any]:
    """Return what drift is measured from: each feature, and what the tests predicted."""
    said = prediction(trained.tested.probabilities)
    columns = {**dict(zip(rows.names, rows.features.T, strict=True)), PREDICTION: said}
    return {name: profile_of(column).document() for name, column in columns.items()}


def _trials(trained: Trained) -> dict[str, str | bytes]:
    """Return the file of what a search tried; none where there was no search."""
    if not trained.trials:
        return {}
    return {TRIALS_FILE: json.dumps([each.document() for each in trained.trials], indent=2) + "\n"}


def _made(table: pa.Table, order: Order, clock: Clock) -> tuple[Rows, Trained, Receipt]:
    rows = rows_of(table, order.features)
    trained = train(
        rows, order.recipe, folds=order.folds, embargo_us=order.embargo_us, trials=order.trials
    )
    inputs = Inputs(
        order.release,
        {"training_rows": table_digest(table.select([*TIMES, *LABELS, *order.features]))},
        order.config(),
        features=dict(order.feature_versions),
        seed=order.recipe.seed,
        spans=texts({"training_rows": (int(rows.event_us[0]), int(rows.event_us[-1]))}),
    )
    now = utc_from_us(clock.now_us())
    result = {"model": trained.model.hash}
    return rows, trained, receipt_of(KIND, order.name, inputs, result, now)


def _picture(weights: Mapping[str, float]) -> bytes:
    """Return a PNG of what features weigh, the heaviest above."""
    shown = sorted(weights.items(), key=lambda each: each[1])
    figure = Figure(figsize=(8, 1 + 0.3 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh([name for name, _ in shown], [weight for _, weight in shown])
    axes.set_xlabel("mean share of the log-odds of up over down")
    sink = io.BytesIO()
    figure.savefig(sink, format="png")
    return sink.getvalue()
