"""The learner sequence: the same bytes twice, windows that see no future, torch's own loader."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from feature_repo.models.learner import learner, recipe_of
from feature_repo.models.registry import Registry
from feature_repo.models.registry_place import registry_place
from feature_repo.models.rows import rows_of
from feature_repo.models.training import train
from flows.features_to_model import Order, train_again, train_model
from lake.clock import ManualClock
from lake.errors import BadInput, Damaged, Unavailable
from lake.receipts.receipt import differences
from tests.models.trading_rows import FEATURES, training_rows

torch = pytest.importorskip("torch", reason="torch is an extra: make test-stack installs it")
SHORT = {"rounds": 4, "patience": 2, "levels": 2, "channels": 8}


def two_series(count: int = 600) -> pa.Table:
    """Return rows of two tickers, one minute apart."""
    parts = [
        training_rows(count, seed=seed).append_column("ticker", pa.array([ticker] * count))
        for seed, ticker in enumerate(("X:BTCUSD", "X:ETHUSD"), 7)
    ]
    return pa.concat_tables(parts)


def test_it_finds_what_there_is_and_the_same_rows_and_seed_give_the_same_bytes() -> None:
    rows = rows_of(training_rows(1_500), FEATURES)
    recipe = recipe_of("sequence", {**SHORT, "rounds": 15})
    first, second = (train(rows, recipe, folds=2) for _ in range(2))
    assert first.metrics["correlation"] > 0.4
    assert first.model.text == second.model.text
    other = train(rows, recipe.changed({"seed": 1}), folds=2).model
    assert other.hash != first.model.hash
    read = learner("sequence").read_model(first.model.text, FEATURES)
    some = first.samples.features(np.arange(50))
    np.testing.assert_array_equal(read.probabilities(some), first.model.probabilities(some))


def test_a_window_is_of_one_series_and_ends_at_its_row() -> None:
    rows = rows_of(two_series(), FEATURES)
    samples = recipe_of("sequence", SHORT).samples(rows)
    assert len(samples.rows.side) == 2 * (600 - 3)
    windows = samples.features(np.arange(len(samples.rows.side)))
    np.testing.assert_array_equal(windows[:, -1], rows.features[samples.places])
    for series in (0, 1):
        mine = rows.features[rows.series == series]
        found = windows[samples.rows.series == series]
        np.testing.assert_array_equal(found[:, 0], mine[:-3])
    one = rows_of(training_rows(500), FEATURES)
    delay_us = np.where(np.arange(len(one.side)) == 100, 10**12, 0)
    late = replace(one, available_us=one.available_us + delay_us)
    with pytest.raises(BadInput, match="were known only after newer ones"):
        recipe_of("sequence", SHORT).samples(late)
    with pytest.raises(BadInput, match="fewer than a window"):
        recipe_of("sequence", {"levels": 10}).samples(rows)


def test_what_it_can_t_take_is_one_sentence() -> None:
    model = train(
        rows_of(training_rows(400), FEATURES), recipe_of("sequence", SHORT), folds=1
    ).model
    with pytest.raises(BadInput, match=r"takes windows of \(4, 3\)"):
        model.probabilities(np.zeros((2, 3)))
    holed = np.zeros((1, 4, 3))
    holed[0, 1:3, 1] = np.nan, np.inf
    with pytest.raises(BadInput, match="2 values are NaN or infinite"):
        model.probabilities(holed)
    with pytest.raises(BadInput, match="not rsi_14, noise_a"):
        learner("sequence").read_model(model.text, FEATURES[:2])
    with pytest.raises(BadInput, match="is no sequence model"):
        learner("sequence").read_model("{}", FEATURES)
    with pytest.raises(Unavailable, match="torch device abacus"):
        recipe_of("sequence", {"device": "abacus"}).samples(rows_of(training_rows(400), FEATURES))
    with pytest.raises(BadInput, match="rounds 1 to"):
        recipe_of("sequence", {"rounds": 0})


def test_explanations_add_up_and_name_the_feature_that_tells() -> None:
    trained = train(
        rows_of(training_rows(1_500), FEATURES),
        recipe_of("sequence", {**SHORT, "rounds": 15}),
        folds=1,
    )
    some = trained.samples.features(np.arange(300))
    parts = trained.model.explain(some)
    said = np.log(trained.model.probabilities(some))
    np.testing.assert_allclose(parts.sum(axis=1), said[:, 2] - said[:, 0], atol=1e-5)
    weights = np.abs(parts[:, :-1]).mean(axis=0)
    assert weights.argmax() == 0
    assert np.abs(parts[:, -1] - parts[:, -1].mean()).max() < 0.05  # steps leave next to nothing


def test_it_is_entered_loaded_by_torch_alone_and_made_again(tmp_path: Path) -> None:
    registry = Registry(registry_place(tmp_path))
    order = Order(
        "sequence", "first", FEATURES, "forward", {}, recipe_of("sequence", SHORT), folds=1
    )
    made = train_model(training_rows(600), order, registry, ManualClock())
    model, card = registry.load(made.version)
    assert model.hash == made.version.model_hash
    assert card.facts["learner"] == "sequence"
    again = train_again(training_rows(600), made.receipt, ManualClock(0))
    assert differences(made.receipt, again) == []
    windows = made.trained.samples.features(np.arange(70))
    place = made.version.source.removeprefix("file://").replace("%20", " ")
    script = (
        "import sys, json, numpy as np, torch, mlflow.pytorch\n"
        "net = mlflow.pytorch.load_model(sys.argv[1])\n"
        "asked = torch.from_numpy(np.array(json.loads(sys.argv[2])))\n"
        "print(json.dumps(net(asked).tolist()))\n"
        "assert not any(name.startswith('feature_repo') for name in sys.modules)\n"
    )
    words = [sys.executable, "-W", "ignore", "-c", script, place, json.dumps(windows.tolist())]
    done = subprocess.run(words, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(
        np.array(json.loads(done.stdout.splitlines()[-1])), model.probabilities(windows), atol=1e-6
    )
    (Path(place) / "model.txt").write_text("{}")
    with pytest.raises(Damaged, match="not the model that was entered"):
        registry.load(made.version)
