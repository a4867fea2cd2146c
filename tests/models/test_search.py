"""A search of recipes: seeded, inside the folds, every trial kept; and what needs torch says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mlflow.artifacts
import numpy as np
import pytest

from feature_repo.models.learner import recipe_of
from feature_repo.models.registry import Registry
from feature_repo.models.registry_place import registry_place
from feature_repo.models.rows import Rows, rows_of
from feature_repo.models.search import search, signal_sharpe
from feature_repo.models.training import cut_early, train
from feature_repo.models.trees import TreeRecipe
from flows.features_to_model import Order, train_again, train_model
from lake.clock import ManualClock
from lake.errors import BadInput, WrongUse
from lake.receipts.receipt import differences
from tests.models.trading_rows import FEATURES, training_rows
from tests.path.lakehouse import ROOT

RECIPE = TreeRecipe(rounds=8, patience=3)
ROWS = rows_of(training_rows(800), FEATURES)
ALL = np.arange(len(ROWS.side))


def test_the_same_seed_gives_the_same_trials_and_the_first_is_the_recipe_itself() -> None:
    first, second = (search(ROWS, ALL, RECIPE, 4, 1, cut_early) for _ in range(2))
    assert first.trials == second.trials
    assert first.model.text == second.model.text
    assert [each.number for each in first.trials] == [1, 2, 3, 4]
    own = {each.name: getattr(RECIPE, each.name) for each in RECIPE.space}
    assert first.trials[0].recipe == own
    least = min(first.trials, key=lambda each: each.log_loss)
    assert first.recipe == RECIPE.changed(least.recipe)
    assert search(ROWS, ALL, RECIPE, 4, 2, cut_early).trials[1:] != first.trials[1:]


def test_a_fold_s_search_never_sees_its_test() -> None:
    """Rows of the last test are spoilt: what the folds before it found stays as it was."""
    trained = train(ROWS, RECIPE, folds=2, trials=3)
    start = ROWS.event_us[trained.tested.places].max() - 100 * 60_000_000
    spoilt = np.where(ROWS.event_us[:, None] > start, 100.0, ROWS.features)
    other = train(
        Rows(
            ROWS.names, spoilt, ROWS.value, ROWS.side, ROWS.event_us, ROWS.available_us,
            ROWS.known_us, ROWS.series, 0,
        ),
        RECIPE,
        folds=2,
        trials=3,
    )  # fmt: skip
    of_folds = [[each for each in found.trials if each.fold] for found in (trained, other)]
    assert of_folds[0] == of_folds[1]
    assert len(of_folds[0]) == 6
    assert len(trained.trials) == 9
    assert trained.metrics["trials"] == 3


def test_trials_lie_beside_the_model_and_a_receipt_searches_again(tmp_path: Path) -> None:
    registry = Registry(registry_place(tmp_path))
    order = Order("tried", "first", FEATURES, "forward", {}, RECIPE, folds=1, trials=3)
    made = train_model(training_rows(600), order, registry, ManualClock())
    card = registry.load(made.version)[1]
    assert card.metrics["trials"] == 3
    assert card.facts["trials"] == 3
    assert card.facts["chosen"] == made.trained.recipe.config()
    place = Path(mlflow.artifacts.download_artifacts(artifact_uri=made.version.source))
    kept = json.loads((place / "trials.json").read_text())
    assert [(each["fold"], each["number"]) for each in kept] == [
        (fold, number) for fold in (1, 0) for number in (1, 2, 3)
    ]
    assert all(isinstance(each["sharpe"], float) for each in kept)
    again = train_again(training_rows(600), made.receipt, ManualClock(0))
    assert differences(made.receipt, again) == []


def test_a_signal_s_sharpe_is_mean_over_spread() -> None:
    rows = ROWS.of(np.arange(4))
    said = np.tile([0.0, 0.0, 1.0], (4, 1))
    gains = rows.value
    assert signal_sharpe(said, rows) == pytest.approx(gains.mean() / gains.std(ddof=1))
    assert signal_sharpe(np.full((4, 3), 1 / 3), rows) == 0.0


def test_a_search_without_sense_is_refused() -> None:
    with pytest.raises(WrongUse, match="1 to 1,000"):
        search(ROWS, ALL, RECIPE, 0, 1, cut_early)
    with pytest.raises(BadInput, match="none to train on"):
        search(ROWS, ALL[:0], RECIPE, 2, 1, cut_early)
    with pytest.raises(WrongUse, match="one of lightgbm, sequence"):
        recipe_of("forest", {})


NO_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name=name)

sys.meta_path.insert(0, NoTorch())
from infra.command.main import run
sys.exit(run(["train", "sequence", "--release", "r", "--home", sys.argv[1]]))
"""


def test_without_torch_the_verb_says_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "torch: " in done.stderr
    assert "pip install 'ticklake[torch]'" in done.stderr
    assert "Traceback" not in done.stderr
