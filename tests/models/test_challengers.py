"""Champions are trained anew each week and their challengers decided, whatever kills the run."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from feature_repo.models.beside import beside
from feature_repo.models.promotion import Criteria, decide
from feature_repo.models.registry import Registry
from feature_repo.models.registry_place import registry_place
from feature_repo.models.rows import rows_of
from feature_repo.models.training import train
from feature_repo.models.trees import TreeRecipe
from flows.challenger_to_champion import promote, promote_all
from flows.features_to_model import Order, train_model
from flows.release_to_challengers import Weekly, train_champions
from flows.release_to_training_rows import Ask, rows_of_release
from lake import state
from lake.clock import ManualClock
from lake.errors import BadInput
from lake.releases.release import create
from lake.views.client import Client
from tests.bars.trading import EPOCH
from tests.features.bars import walk
from tests.features.house import NOW, US, House
from tests.models.trading_rows import FEATURES, training_rows
from tests.path.lakehouse import ROOT

BARS = walk(1_700, gaps=0)
FIRST = 1_200
ASK = Ask(horizon=3, dead_band=0.0005)
RECIPE = TreeRecipe(rounds=5, patience=2)
START_US = (NOW - EPOCH) // US
WEEK_US = timedelta(weeks=1) // US

DIES = """
import sys
from pathlib import Path
from feature_repo.models.registry import Registry
from feature_repo.models.registry_place import registry_place
from flows.release_to_challengers import train_champions
from lake.steps import Steps
from lake.warehouse import warehouse_of
from lake.clock import ManualClock
home, dsn, plan = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
registry = Registry(registry_place(home), steps=Steps.parse(plan))
train_champions(home, dsn, warehouse_of(home), registry, ManualClock(int(sys.argv[4])))
"""

NO_TORCH = """
import sys
class No:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == 'torch':
            raise ModuleNotFoundError('no torch', name='torch')
sys.meta_path.insert(0, No())
"""
SAYS = """
from pathlib import Path
from feature_repo.models.registry import Registry
from feature_repo.models.registry_place import registry_place
from flows.challenger_to_champion import promote_all
from flows.release_to_challengers import train_champions
from lake.clock import ManualClock
from lake.warehouse import warehouse_of
home, dsn = Path(sys.argv[1]), sys.argv[2]
registry = Registry(registry_place(home))
place, clock = warehouse_of(home), ManualClock(int(sys.argv[3]))
print(*train_champions(home, dsn, place, registry, clock).lines, sep="\\n")
print(*promote_all(registry, dsn), sep="\\n")
"""


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[House]:
    """Return a lakehouse whose release `first` has the first bars; the others came since."""
    home = tmp_path / "home"
    state.write_state(home, {"postgres": {"dsn": migrated_dsn}})
    house = House(migrated_dsn, home / "warehouse")
    house.start_shard(0)
    house.publish(BARS.slice(0, FIRST))
    house.make()
    house.write()
    house.commit()
    create(migrated_dsn, house.place, "first", ManualClock())
    house.publish(BARS.slice(FIRST))
    house.make()
    yield house
    house.close()


def champion(house: House, registry: Registry) -> None:
    with Client(house.dsn, house.place, release="first") as client:
        table = rows_of_release(client, ASK)
    order = Order(
        "direction",
        "first",
        ("return_1", "rsi_14", "atr_14"),
        "forward, 3 bars",
        {"market": str(ASK.set.version)},
        RECIPE,
        folds=2,
        source=ASK.config(),
    )
    made = train_model(table, order, registry, ManualClock())
    registry.set_role("direction", made.version.version, "champion")


def weekly(house: House, home: Path, registry: Registry, week: int = 0) -> Weekly:
    clock = ManualClock(START_US + week * WEEK_US)
    return train_champions(home, house.dsn, house.place, registry, clock)


def test_a_champion_gets_a_challenger_a_week_that_was_compared_on_rows_unseen_by_both(
    house: House, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    registry = Registry(registry_place(home))
    assert weekly(house, home, registry) == Weekly("", ("no model has a champion",))
    champion(house, registry)
    done = weekly(house, home, registry)
    assert done.release == "week-2024-09"
    assert "direction version 2" in done.lines[0]
    challenger = registry.find("direction", "challenger")
    card = registry.load(challenger)[1]
    assert card.facts["release"] == done.release
    assert card.facts["recipe"] == RECIPE.config()
    seen = card.facts["beside"]
    assert seen["champion"] == 1
    assert 450 < seen["rows"] <= 500
    assert weekly(house, home, registry).lines == (
        f"direction version 2 is of {done.release} already",
    )
    lines = promote_all(registry, house.dsn, Criteria(unseen_rows_min=400, rows_min=100))
    assert any("unseen by both" in line for line in lines)
    strict = Criteria(unseen_rows_min=10_000)
    if "champion" not in registry.find("direction", "challenger").roles:
        assert not promote(registry, "direction", strict).decision.promote

    kill(house, home, "model.role=kill@1", START_US + WEEK_US)
    assert [each.roles for each in registry.versions("direction")[2:]] == [()]
    weekly(house, home, registry, 1)
    [version] = registry.versions("direction")[2:]
    assert "challenger" in version.roles
    registry.load(version)


def kill(house: House, home: Path, plan: str, now_us: int) -> None:
    """Run a training in a process of its own, which dies at a step."""
    done = subprocess.run(
        [sys.executable, "-c", DIES, str(home), house.dsn, plan, str(now_us)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_champion_whose_learner_is_not_here_is_named_and_the_others_go_on(
    house: House, tmp_path: Path
) -> None:
    """Its card says the learner sequence; in the process that trains there is no torch."""
    home = tmp_path / "home"
    registry = Registry(registry_place(home))
    champion(house, registry)
    model, card = registry.load(registry.find("direction", "champion"))
    facts = {**card.facts, "learner": "sequence", "recipe": {}}
    for role in ("champion", "challenger"):
        made = registry.register(model, replace(card, name="before", facts=facts), {})
        registry.set_role("before", made.version, role)
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH + SAYS, *map(str, (home, house.dsn, START_US))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second, *decided = done.stdout.splitlines()
    assert first.startswith("before is not trained: torch: is not installed: pip install")
    assert second.startswith("direction version 2: log loss")
    assert decided[0] == "before version 2 stays challenger; champion before: version 1"
    assert any(each.startswith("direction") for each in decided)


def test_a_rival_is_judged_on_what_neither_saw_and_of_other_features_not_at_all() -> None:
    old, new = (rows_of(training_rows(count), FEATURES) for count in (1_500, 2_500))
    first, second = (train(rows, RECIPE, folds=3) for rows in (old, new))
    since = int(old.known_us.max())
    found = beside(new, second.tested, 4, first.model, RECIPE, since)
    assert found is not None
    tested = second.tested.places
    assert found.rows == int((new.event_us[tested] > since).sum())
    assert found.champion == 4
    assert beside(new, second.tested, 4, first.model, RECIPE, int(new.event_us.max())) is None
    with pytest.raises(BadInput, match=r"champion 4: takes rsi_14, noise_a, noise_b, not noise_a"):
        beside(replace(new, names=("noise_a",)), second.tested, 4, first.model, RECIPE, since)


def test_too_few_unseen_rows_decide_nothing() -> None:
    better = {"log_loss": 0.9, "correlation": 0.1, "rows": 5_000}
    worse = {"log_loss": 1.0, "correlation": 0.0}
    few = decide(better, worse, Criteria(), same_release=False, unseen_rows=499)
    assert not few.promote
    assert "NOT met: 499 rows unseen by both, at least 500" in few.reasons
    assert decide(better, worse, Criteria(), same_release=False, unseen_rows=500).promote
    with pytest.raises(BadInput, match="two releases"):
        decide(better, {**worse, "rows": 1}, Criteria(), same_release=False)


def test_who_was_champion_is_shadow(tmp_path: Path) -> None:
    registry = Registry(registry_place(tmp_path))
    for strength in (0.3, 2.0):
        order = Order("direction", "first", FEATURES, "forward", {}, RECIPE, folds=1)
        rows: pa.Table = training_rows(1_200, strength=strength)
        made = train_model(rows, order, registry, ManualClock())
        registry.set_role("direction", made.version.version, "challenger")
        assert promote(registry, "direction").decision.promote
    assert [each.roles for each in registry.versions("direction")] == [
        ("shadow",),
        ("champion", "challenger"),
    ]
