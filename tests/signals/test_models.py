"""Issue 7, part 3: models change without a stop; what can't be used leaves the seat to the last."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feature_repo.feature_set import MARKET
from feature_repo.models.registry import MODEL_FILE, Standing
from feature_repo.versions import computed
from infra.command.main import run
from lake.clock import ManualClock
from lake.errors import BadInput, Damaged, Unavailable, WrongUse
from serving.live.told import feature_rows
from serving.signals.choice import ChosenModels
from serving.signals.loaded import Loaded
from serving.signals.models import InUse, Models, taken
from serving.signals.route import CANARY, Route
from serving.signals.route_log import TAG, Entry, entries, keep, newest
from tests.features.bars import walk
from tests.signals.in_use import version
from tests.signals.registry_home import RegistryHome


@pytest.fixture
def house(tmp_path: Path, give_registry: Callable[[Path], None]) -> RegistryHome:
    return RegistryHome(tmp_path, give_registry)


@pytest.fixture
def models(house: RegistryHome) -> Iterator[Models]:
    made = Models(house.home)
    yield made
    made.stop.set()


def now(models: Models, role: str = "champion", name: str = "direction") -> int | None:
    """Look at the registry; return who answers in a role."""
    models.look()
    assert models.fault == ""
    found = models.in_use[name].seats[role].now
    return None if found is None else found.version.version


def test_a_role_that_moves_is_followed_and_a_version_is_loaded_once(
    house: RegistryHome, models: Models
) -> None:
    house.train("champion")
    assert now(models) == 1
    first = models.in_use["direction"].seats["champion"].now
    house.train("challenger", seed=2)
    assert (now(models), now(models, "challenger")) == (1, 2)
    challenger = models.in_use["direction"].seats["challenger"].now
    house.registry.set_role("direction", 2, "champion")
    house.registry.set_role("direction", 1, "shadow")
    assert (now(models), now(models, "shadow")) == (2, 1)
    seats = models.in_use["direction"].seats
    assert seats["champion"].now is seats["challenger"].now is challenger
    assert seats["champion"].before is seats["shadow"].now is first
    assert models.model("X:BTCUSD").name == "direction"


@pytest.mark.parametrize("harm", ["corrupt", "signature", "gone"])
def test_a_version_that_can_t_be_used_leaves_the_last_good_one(
    house: RegistryHome, models: Models, harm: str
) -> None:
    house.train("champion")
    assert now(models) == 1
    bad = house.train(seed=2)
    file = house.file(bad, MODEL_FILE)
    if harm == "corrupt":
        file.write_text(file.read_text()[:-100])
    elif harm == "gone":
        file.unlink()
    else:
        card = house.file(bad, "card.json")
        document = json.loads(card.read_bytes())
        card.write_text(json.dumps({**document, "features": ["rsi_14", "return_1", "sma_20"]}))
    house.registry.set_role("direction", 2, "champion")
    assert now(models) == 1
    seat = models.in_use["direction"].seats["champion"]
    assert (seat.named, bool(seat.fault)) == (2, True)
    assert now(models) == 1  # not tried again and again
    house.train("champion", seed=3)
    assert now(models) == 3
    assert models.in_use["direction"].seats["champion"].fault == ""


def test_with_nobody_before_the_seat_is_empty_and_says_why(
    house: RegistryHome, models: Models
) -> None:
    made = house.train("champion")
    house.file(made, MODEL_FILE).write_text("")
    assert now(models) is None
    with pytest.raises(Unavailable, match=r"none is in use .*not the model that was entered"):
        models.model("X:BTCUSD")


def test_without_a_registry_none_is_made_and_it_is_one_sentence(tmp_path: Path) -> None:
    models = Models(tmp_path)
    models.look()
    with pytest.raises(Unavailable, match="models: none is in use: train one"):
        models.model("X:BTCUSD")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Unavailable, match="no registry"):
        ChosenModels(models, ManualClock()).use("direction/1")


def test_what_is_away_is_tried_again_and_what_is_broken_is_not() -> None:
    asked: list[int] = []
    faults = [Unavailable("store", "is away"), None, Damaged("model", "is none"), None]

    def load(name: str, number: int) -> Loaded:
        asked.append(number)
        if fault := faults.pop(0):
            raise fault
        return version(number)

    held: dict[str, InUse] = {}
    for number, expected in ((1, None), (1, 1), (2, 1), (2, 1), (3, 3)):
        held = taken(held, [Standing("direction", {"champion": number}, {})], load)
        found = held["direction"].seats["champion"].now
        assert (found.version.version if found else None) == expected
    assert asked == [1, 1, 2, 3]
    assert taken(held, [Standing("direction", {}, {})], load) == {}


def test_a_route_holds_from_its_change_on_and_none_is_lost(
    house: RegistryHome, models: Models
) -> None:
    house.train("champion")
    keep(house.registry, "direction", Entry(1, "me", Route(CANARY, 0.25)))
    keep(house.registry, "direction", Entry(2, "you", Route(CANARY, 0.5)))
    assert now(models) == 1
    assert models.in_use["direction"].route == Route(CANARY, 0.5)
    (standing,) = house.registry.standings()
    assert [(each.at_us, each.by) for each in entries(standing.tags)] == [(1, "me"), (2, "you")]
    house.registry.set_tag("direction", f"{TAG}9", "nonsense")
    models.look()
    assert models.in_use["direction"].route == Route(CANARY, 0.5)  # the last that could be read
    assert "nonsense" not in models.in_use["direction"].fault
    assert "can't be read" in models.in_use["direction"].fault
    with pytest.raises(BadInput, match="can't be read"):
        newest({f"{TAG}1": "[]"})
    with pytest.raises(WrongUse, match="model other: is not there"):
        keep(house.registry, "other", Entry(1, "me", Route()))


def test_the_verb_sets_a_route_and_shows_every_change(
    house: RegistryHome, capsys: pytest.CaptureFixture[str]
) -> None:
    house.train("champion")

    def verb(*words: str) -> tuple[int, str]:
        code = run(["models", "route", *words, "--home", str(house.home)])
        out = capsys.readouterr()
        return code, out.out + out.err

    assert verb("direction") == (0, "direction: all to the champion\n")
    assert "canary: 5.0% of instruments" in verb("direction", "--canary", "0.05")[1]
    assert "experiment spring: 50.0%" in verb("direction", "--ab", "spring")[1]
    code, said = verb("direction", "--bandit", "--seed", "7", "--json")
    document = json.loads(said)
    assert (code, document["route"]["by"], len(document["changes"])) == (0, "request", 3)
    for wrong in (("direction", "--ab", "x", "--bandit"), ("other",), ("other", "--champion")):
        assert verb(*wrong)[0] == 2
    assert verb("direction", "--canary", "2")[0] == 2


def test_a_champion_says_the_same_of_the_same_rows_in_a_replay(
    house: RegistryHome, models: Models
) -> None:
    house.train("champion")
    models.look()
    live, rows = ChosenModels(models, ManualClock()), computed(walk(50), MARKET)
    assert (live.newest(), live.shared(rows)) == ("direction/1", [])
    live.use(live.newest())
    ((versions, asked),) = live.shared(rows)
    assert (versions, asked.num_rows) == (("direction/1",), rows.num_rows)
    said = live.say("direction/1", rows)
    whole = [row for row in feature_rows(rows) if row["values"]["realised_volatility_30"]]
    assert [row.time_us for row in said] == [row["t"] for row in whole]
    assert [row.available_us for row in said] == [row["known"] for row in whole]
    replay = ChosenModels(Models(house.home), ManualClock(), "direction")
    replay.use("direction/1")  # which nothing has looked for yet
    assert replay.say("direction/1", rows) == said
    for wrong in ("direction", "direction/9", "other/1"):
        with pytest.raises(Unavailable, match=f"version {wrong}"):
            replay.use(wrong)
