"""Features of other sets in training rows: as they stood at a row's time, named in the receipt."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from feature_repo.compute import features_of
from feature_repo.feature_set import MARKET, WITH_REFERENCE, sets_beside, spelled_out
from feature_repo.models.registry import Registry
from feature_repo.models.registry_place import registry_place
from flows.challenger_to_champion import promote_all
from flows.features_to_predictions import score
from flows.release_to_training_rows import Ask, ask_of
from infra.command.main import run
from lake import state
from lake.clock import ManualClock
from lake.errors import BadInput
from lake.features.common_bars import with_reference
from serving.signals.loaded import unfit
from tests.features.house import NOW
from tests.features.ticks import pair
from tests.models.released_house import ReleasedHouse, released

BARS = pair(700)
ASK = Ask(horizon=5, beside={"cross_asset": 1})
NAMES = ("return_1", *WITH_REFERENCE.names)


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[ReleasedHouse]:
    with released(migrated_dsn, tmp_path / "warehouse", BARS, [WITH_REFERENCE]) as house:
        yield house


def values(table: pa.Table, names: Sequence[str]) -> dict[tuple[str, datetime], list[object]]:
    """Return the values of each bar."""
    return {
        (row["ticker"], row["event_time"]): [row[name] for name in names]
        for row in table.to_pylist()
    }


def test_a_row_has_what_other_sets_held_at_its_time_and_no_later_correction(
    house: ReleasedHouse,
) -> None:
    before = house.training_rows(ASK)
    found = values(before, WITH_REFERENCE.names)
    made = values(features_of(with_reference(BARS), WITH_REFERENCE), WITH_REFERENCE.names)
    own = found.keys() & made.keys()
    assert len(own) > 500
    assert {bar: found[bar] for bar in own} == {bar: made[bar] for bar in own}
    bar = BARS.slice(300, 1)
    row = bar.to_pylist()[0]
    late = {**row, "close": row["high"], "received_time": NOW}
    held = house.rows("FROM features_cross_asset").num_rows
    house.publish(pa.Table.from_pylist([late], bar.schema), bar)
    house.make_all([WITH_REFERENCE])
    assert house.rows("FROM features_cross_asset").num_rows > held
    house.release("second")
    assert values(house.training_rows(ASK, "second"), NAMES) == values(before, NAMES)


def test_market_alone_asks_as_before_and_a_set_without_values_is_one_sentence(
    house: ReleasedHouse,
) -> None:
    assert "beside" not in Ask().config()
    assert ask_of(json.loads(json.dumps(ASK.config()))).config() == ASK.config()
    assert spelled_out(["rsi_14", "cross_asset"]) == ["rsi_14", *WITH_REFERENCE.names]
    assert sets_beside(MARKET.names) == {}
    assert sets_beside(NAMES) == {"cross_asset": 1}
    with pytest.raises(BadInput, match="features_sentiment: has no value at any of the rows"):
        house.training_rows(Ask(horizon=5, beside={"sentiment": 1}))


def test_the_verb_takes_a_set_by_name_and_what_nobody_scores_decides_nothing(
    house: ReleasedHouse,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    give_registry: Callable[[Path], None],
) -> None:
    home = tmp_path
    give_registry(home)
    state.write_state(home, {"postgres": {"dsn": house.dsn}})
    words = ("--release", "first", "--horizon", "5", "--rounds", "20", "--folds", "2", "--json")
    taken = ("--features", "return_1,cross_asset", "--home", str(home))
    assert run(["train", "direction", *words, *taken]) == 0
    made = json.loads(capsys.readouterr().out)
    receipt = json.loads(Path(made["receipt"]).read_text())
    assert receipt["inputs"]["features"] == {"market": "1", "cross_asset": "1"}
    registry = Registry(registry_place(home))
    version = registry.version("direction", 1)
    card = registry.stored(version)[1]
    assert card.features == NAMES
    assert card.facts["feature_versions"] == {"market": "1", "cross_asset": "1"}
    assert run(["verify", made["receipt"], "--home", str(home)]) == 0
    assert "model direction on release first: the same result" in capsys.readouterr().out
    [said] = score(house.dsn, house.place, registry, ManualClock())
    assert "takes features of cross_asset beside market" in said.line()
    assert "cross_asset, which the speed layer does not make" in unfit(card)
    say = ("--home", str(home))
    assert run(["models", "promote", "direction", *say]) == 1
    why = "model direction 1: takes features of cross_asset, which neither"
    assert why in capsys.readouterr().err
    assert why in "".join(promote_all(registry, house.dsn))
    for way in (["--canary", "0.5"], ["--ab", "spring"], ["--bandit"]):
        assert run(["models", "route", "direction", *way, *say]) == 1
        assert "challenger direction 1: takes features of cross" in capsys.readouterr().err
    assert run(["models", "route", "direction", "--champion", *say]) == 0
    assert [each.roles for each in registry.versions("direction")] == [("challenger",)]
