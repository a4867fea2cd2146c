"""Issue 6, part 5: models are entered, loaded and promoted at the MLflow of the stack."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from feature_repo.models.registry import Registry
from feature_repo.models.registry_place import registry_place
from feature_repo.models.trees import TreeRecipe
from flows.challenger_to_champion import promote
from flows.features_to_model import Order, train_model
from lake.clock import ManualClock
from lake.errors import Damaged
from tests.models.trading_rows import FEATURES, training_rows

RECIPE = TreeRecipe(rounds=5, patience=2)


@pytest.fixture
def registry(stack: Path) -> Registry:
    found = Registry(registry_place(stack))
    assert found.place.tracking.startswith("http")
    return found


@pytest.fixture
def name(registry: Registry) -> Iterator[str]:
    """A model's name that nobody has used; the model goes afterwards."""
    made = f"test-{uuid.uuid4().hex[:12]}"
    yield made
    client = mlflow.MlflowClient(registry.place.tracking, registry_uri=registry.place.tracking)
    if made in {each.name for each in registry.standings()}:
        client.delete_registered_model(made)


def test_two_versions_are_entered_loaded_and_promoted(registry: Registry, name: str) -> None:
    for number, strength in enumerate((0.3, 2.0), 1):
        order = Order(name, "first", FEATURES, "forward", {"market": "1"}, RECIPE, folds=1)
        rows = training_rows(1_200, strength=strength)
        made = train_model(rows, order, registry, ManualClock())
        found = registry.version(name, number)
        model, card = registry.load(found)
        assert model.hash == found.model_hash == made.trained.model.hash
        assert card.features == FEATURES
        assert card.facts["feature_versions"] == {"market": "1"}
        assert set(json.loads(registry.file(found, "weights.json"))) == set(FEATURES)
        registry.set_role(name, number, "challenger")
        assert promote(registry, name).decision.promote
    assert [each.roles for each in registry.versions(name)] == [
        ("shadow",),
        ("champion", "challenger"),
    ]
    [standing] = [each for each in registry.standings() if each.name == name]
    assert standing.roles == {"champion": 2, "challenger": 2, "shadow": 1}
    champion = registry.find(name, "champion")
    assert champion.version == 2
    with pytest.raises(Damaged, match="is not the model that was entered"):
        registry.load(replace(champion, model_hash="0" * 64))
