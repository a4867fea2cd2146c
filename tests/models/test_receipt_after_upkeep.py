"""Issue 6, part 7: a model's receipt holds after upkeep, expiry and more features."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from feature_repo.models.registry import Registry
from feature_repo.models.registry_place import registry_place
from feature_repo.models.trees import TreeRecipe
from flows.features_to_model import Order, train_model
from flows.receipt_to_result import again
from flows.release_to_training_rows import Ask
from flows.small_files_to_large import keep
from lake import state
from lake.clock import SystemClock
from lake.receipts.receipt import read, save
from lake.tables.upkeep import UpkeepLimits
from tests.features.bars import walk
from tests.models.released_house import ReleasedHouse, released

BARS = walk(1_200, gaps=0)
FIRST, MORE = 900, 75
CLOCK = SystemClock()
SOON = UpkeepLimits(merge_factor=2, snapshots_max=2, snapshots_kept=1)
DATASETS = ("bars", "features_market")


def test_a_model_s_receipt_gives_the_same_model_after_upkeep_and_expiry(
    migrated_dsn: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    state.write_state(home, {"postgres": {"dsn": migrated_dsn}})
    with released(migrated_dsn, home / "warehouse", BARS.slice(0, FIRST)) as house:
        path = trained(house, home)
        seen = {name: snapshots_of(house, name) for name in DATASETS}
        removed = 0
        for first in range(FIRST, BARS.num_rows, MORE):
            house.publish(BARS.slice(first, MORE))
            house.publish(*corrected(first - 100))  # of a bar that it was trained on
            house.make()
            for name in DATASETS:
                seen[name] |= snapshots_of(house, name)
                options = {"grace_s": 0, "sweep_age_s": 0, "limits": SOON}
                removed += keep(house.dsn, house.place, CLOCK, name, **options).files_removed
        assert removed > 0
        assert all(len(seen[name] - snapshots_of(house, name)) >= 2 for name in DATASETS)
        now, found = again(home, read(path))
    assert found == []
    assert now.result_hash == read(path).result_hash


def trained(house: ReleasedHouse, home: Path) -> Path:
    """Train a model on the release, and return its receipt's file."""
    ask = Ask(horizon=3, dead_band=0.0005)
    order = Order(
        "direction",
        "first",
        ("return_1", "rsi_14", "atr_14"),
        "forward, 3 bars",
        ask.versions(),
        TreeRecipe(rounds=5, patience=2),
        folds=2,
        source=ask.config(),
    )
    made = train_model(house.training_rows(ask), order, Registry(registry_place(home)), CLOCK)
    return save(made.receipt, home / "receipts")


def corrected(at: int) -> tuple[pa.Table, pa.Table]:
    """Return a bar with another close, and the bar that it stands for."""
    bar = BARS.slice(at, 1)
    return pa.Table.from_pylist(
        [{**bar.to_pylist()[0], "close": bar["high"][0].as_py()}], bar.schema
    ), bar


def snapshots_of(house: ReleasedHouse, dataset: str) -> set[int]:
    return {each.snapshot_id for each in house.table(dataset).metadata.snapshots}
