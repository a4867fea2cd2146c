"""Issue 6, parts 5 and 7: a version is whole or not there; its receipt gives the same model."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow.artifacts
import mlflow.lightgbm
import numpy as np
import pytest

from feature_repo.models.registry import Registry
from feature_repo.models.registry_place import RegistryPlace, registry_place
from feature_repo.models.rows import rows_of
from feature_repo.models.trees import TreeRecipe
from flows.features_to_model import Order, train_again, train_model
from lake.clock import ManualClock
from lake.errors import BadInput, Damaged, Unavailable, WrongUse
from lake.receipts.receipt import differences
from tests.models.trading_rows import FEATURES, training_rows
from tests.path.lakehouse import ROOT

TABLE = training_rows(800)
ORDER = Order(
    "direction",
    "first",
    FEATURES,
    "forward return of 5 bars",
    {"momentum": "1.0.0"},
    TreeRecipe(rounds=10, patience=3),
    folds=2,
)

DIES = """
import sys
from pathlib import Path
from feature_repo.models.registry import Registry
from feature_repo.models.registry_place import registry_place
from flows.features_to_model import train_model
from lake.clock import ManualClock
from lake.steps import Steps
from dataclasses import replace
from tests.models.test_registry import ORDER, TABLE
registry = Registry(registry_place(Path(sys.argv[1])), steps=Steps.parse(sys.argv[2]))
train_model(TABLE, replace(ORDER, name=sys.argv[3]), registry, ManualClock())
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, give_registry: Callable[[Path], None]) -> Path:
    home = tmp_path_factory.mktemp("registry home")
    give_registry(home)
    return home


@pytest.fixture(scope="module")
def registry(home: Path) -> Registry:
    return Registry(registry_place(home))


def test_a_version_has_all_that_it_is_made_of(registry: Registry) -> None:
    made = train_model(TABLE, ORDER, registry, ManualClock())
    found = registry.find("direction", made.version.version)
    model, card = registry.load(found)
    assert model.hash == found.model_hash == made.trained.model.hash
    assert card.features == FEATURES
    assert card.facts["release"] == "first"
    assert card.facts["feature_versions"] == {"momentum": "1.0.0"}
    assert card.facts["seed"] == ORDER.recipe.seed
    assert card.facts["libraries"]["lightgbm"]
    assert len(card.facts["code"]) == 64
    assert card.metrics == made.trained.metrics
    place = Path(mlflow.artifacts.download_artifacts(artifact_uri=found.source))
    assert (place / "weights.png").read_bytes()[:4] == b"\x89PNG"
    assert set(json.loads((place / "weights.json").read_text())) == set(FEATURES)
    assert (place / "explanations.parquet").stat().st_size


def test_mlflow_s_own_loader_reads_it(registry: Registry) -> None:
    made = train_model(TABLE, ORDER, registry, ManualClock())
    theirs = mlflow.lightgbm.load_model(made.version.source)
    features = rows_of(TABLE, FEATURES).features
    ours = made.trained.model.probabilities(features)
    np.testing.assert_array_equal(theirs.predict(features), ours)


def test_a_receipt_gives_the_same_model_and_says_where_rows_differ(registry: Registry) -> None:
    made = train_model(TABLE, ORDER, registry, ManualClock())
    assert differences(made.receipt, train_again(TABLE, made.receipt, ManualClock(0))) == []
    other = train_again(training_rows(800, seed=8), made.receipt, ManualClock())
    faults = [each.what for each in differences(made.receipt, other) if each.fault]
    assert faults == ["data training_rows", "result model"]


def test_a_role_moves_from_version_to_version(registry: Registry) -> None:
    first, second = (
        train_model(TABLE, ORDER, registry, ManualClock()).version.version for _ in range(2)
    )
    registry.set_role("direction", first, "champion")
    registry.set_role("direction", second, "challenger")
    assert registry.find("direction", "champion").version == first
    registry.set_role("direction", second, "champion")
    assert registry.find("direction", "champion").version == second
    with pytest.raises(WrongUse, match="has no version 999"):
        registry.set_role("direction", 999, "champion")
    with pytest.raises(WrongUse, match="has no shadow"):
        registry.find("direction", "shadow")
    with pytest.raises(WrongUse, match="one of champion"):
        registry.set_role("direction", first, "king")


def test_files_that_were_changed_are_no_model(registry: Registry) -> None:
    made = train_model(TABLE, ORDER, registry, ManualClock()).version
    file = Path(made.source.removeprefix("file://").replace("%20", " ")) / "model.txt"
    whole = file.read_text()
    file.write_text(whole + "\n")
    with pytest.raises(Damaged, match="not the model that was entered"):
        registry.load(made)
    file.write_text(whole)
    assert registry.load(made)[0].hash == made.model_hash


def test_a_card_of_other_features_is_one_sentence(registry: Registry) -> None:
    made = train_model(TABLE, ORDER, registry, ManualClock()).version
    file = Path(made.source.removeprefix("file://").replace("%20", " ")) / "card.json"
    whole = file.read_text()
    card = json.loads(whole)
    file.write_text(json.dumps({**card, "features": ["rsi_14", "noise_a", "volume"]}))
    with pytest.raises(BadInput, match="takes rsi_14, noise_a, noise_b, not rsi_14, noise_a, vol"):
        registry.load(made)
    file.write_text("{}")
    with pytest.raises(Damaged, match="has no whole card"):
        registry.load(made)
    file.write_text(whole)


@pytest.mark.parametrize(("step", "entered"), [("model.files", 0), ("model.version", 1)])
def test_a_training_that_dies_leaves_no_half_version(
    home: Path, registry: Registry, step: str, entered: int
) -> None:
    before = len(registry.versions("direction"))
    dies(home, step, "direction")
    found = registry.versions("direction")
    assert len(found) == before + entered
    if entered:
        registry.load(found[-1])
    train_model(TABLE, ORDER, registry, ManualClock())
    assert len(registry.versions("direction")) == before + entered + 1
    client = mlflow.MlflowClient(registry.place.tracking)
    [experiment] = client.search_experiments(filter_string="name = 'direction'")
    runs = client.search_runs([experiment.experiment_id])
    assert "RUNNING" not in {run.info.status for run in runs}
    if not entered:  # else it had ended well
        assert "KILLED" in {run.info.status for run in runs}


@pytest.mark.parametrize("step", ["model.run", "model.files"])
def test_a_first_training_that_dies_leaves_no_model(
    home: Path, registry: Registry, step: str
) -> None:
    name = step.replace(".", "-")
    dies(home, step, name)
    assert name not in {each.name for each in registry.standings()}
    assert registry.versions(name) == []
    train_model(TABLE, replace(ORDER, name=name), registry, ManualClock())
    assert [each.version for each in registry.versions(name)] == [1]


def dies(home: Path, step: str, name: str) -> None:
    """Train in a process of its own, which is killed at a step."""
    done = subprocess.run(
        [sys.executable, "-c", DIES, str(home), f"{step}=kill@1", name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_mlflow_is_told_which_lightgbm_wrote_it(registry: Registry) -> None:
    made = train_model(TABLE, ORDER, registry, ManualClock())
    place = Path(mlflow.artifacts.download_artifacts(artifact_uri=made.version.source))
    wanted = (place / "requirements.txt").read_text().split()
    assert f"lightgbm=={made.receipt.libraries['lightgbm']}" in wanted
    assert made.receipt.libraries["optuna"]


def test_a_dead_mlflow_is_one_sentence() -> None:
    with pytest.raises(Unavailable, match=r"MLflow at http://127.0.0.1:9: .*ticklake up") as error:
        Registry(RegistryPlace("http://127.0.0.1:9", ""))
    assert "\n" not in str(error.value)


def test_an_order_without_sense_is_refused() -> None:
    with pytest.raises(WrongUse, match="is no name"):
        Order("No Name", "first", FEATURES, "")
    with pytest.raises(WrongUse, match="each once"):
        Order("m", "first", ("a", "a"), "")
    with pytest.raises(BadInput, match="rounds 1 to"):
        TreeRecipe(rounds=0)
