"""Issue 7, part 3: a version of several rows speaks live, of the windows that the batch has."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator

import pytest
from redis import Redis

from feature_repo.feature_set import MARKET
from feature_repo.models.learner import recipe_of
from flows.features_to_predictions import score
from lake.clock import ManualClock
from serving.live.told import feature_rows
from serving.signals.look_back import LookBack
from serving.signals.models import InUse, Models
from serving.signals.recorder import Recorder
from serving.signals.scorer import Scorer
from serving.signals.scoring import Told, decided, keep, told_of, whole, with_past
from serving.signals.windows import LATE_US, ROWS_MAX, Windows
from serving.streams.connect import connected
from tests.conftest import Databases
from tests.models.watched_house import WatchedHouse, watched_house
from tests.signals.in_use import NAMES, START_US, Looks, in_use, told, version

MINUTE_US = 60_000_000
WINDOW = 8


@pytest.fixture(scope="module")
def house(
    databases: Databases, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WatchedHouse]:
    with watched_house(databases, migrated_template, tmp_path_factory.mktemp("home")) as house:
        yield house


def minute(n: int, value: float | None = None) -> Told:
    at_us = START_US + n * MINUTE_US
    values = {"return_1": float(n) if value is None else value, "rsi_14": 50.0}
    return told(1, t_us=at_us, known_us=at_us + 1, values=values)


def window(rows: list[Told], row: Told) -> list[float] | None:
    """Return the window of a row after these, as a version of four rows and NAMES is given it."""
    windows = Windows()
    keep(windows, rows)
    (found,) = with_past(windows, [row])
    model = Looks()
    looks = version(1, model)
    if not whole(looks, [found])[0]:
        return None
    decided(in_use(champion=looks), [found], {}, ManualClock(START_US))
    return [float(each) for each in model.given[-1][0, :, 0]]


def test_a_window_is_of_the_newest_whole_rows_as_they_first_were() -> None:
    rows = [minute(n) for n in range(6)]
    assert window(rows, minute(6)) == [3, 4, 5, 6]
    assert window(rows[:2], minute(2)) is None  # too few
    assert window([*rows, minute(5, 99.0)], minute(6)) == [3, 4, 5, 6]  # corrected since
    assert window(rows, minute(5, 99.0)) == [2, 3, 4, 99]  # the row itself is
    assert window([*rows[:3], rows[5], rows[4]], minute(6)) == [1, 2, 5, 6]  # came after a newer
    null = minute(4)._replace(values={"return_1": None, "rsi_14": 50.0})
    assert window([*rows[:4], null, rows[5]], minute(6)) == [2, 3, 5, 6]
    late = rows[4]._replace(known_us=rows[4].t_us + LATE_US + 1)
    assert window([*rows[:4], late, rows[5]], minute(6)) == [2, 3, 5, 6]
    over = rows[4]._replace(degraded=frozenset({"rsi_14"}))
    assert window([*rows[:4], over, rows[5]], minute(6)) is None  # over a drop
    other = rows[4]._replace(degraded=frozenset({"sma_20"}))
    assert window([*rows[:4], other, rows[5]], minute(6)) == [3, 4, 5, 6]
    assert window([minute(n) for n in range(3 * ROWS_MAX)], minute(3 * ROWS_MAX)) == [
        float(3 * ROWS_MAX - n) for n in (3, 2, 1, 0)
    ]


def test_a_scorer_keeps_what_it_hears_whoever_is_in_use(valkey_url: str) -> None:
    """Rows that were read with newer ones are in the windows, though they are not scored."""
    client: Redis = connected(valkey_url)
    uses: dict[str, InUse] = {"direction": in_use(champion=version(1))}
    look_back = LookBack()
    clock = ManualClock(START_US)
    scorer = Scorer(client, Recorder(""), clock, lambda: uses, dict, None, look_back)
    ticker = f"X:W{random.randrange(10**9)}USD"

    def at(n: int) -> Told:
        row = minute(n)
        return row._replace(instrument=row.instrument._replace(ticker=ticker))

    look_back.hear([at(0), at(1)])
    scorer.score([at(1)])
    look_back.hear([at(2)])
    scorer.score([at(2)])
    model = Looks()
    uses["direction"] = in_use(champion=version(2, model))
    look_back.hear([at(3)])
    (said,) = scorer.score([at(3)])
    assert said.version == "2"
    assert model.given[-1][0, :, NAMES.index("return_1")].tolist() == [0, 1, 2, 3]
    client.close()


def test_live_windows_are_those_of_the_batch(house: WatchedHouse) -> None:
    pytest.importorskip("torch", reason="torch is an extra: make test-stack installs it")
    recipe = recipe_of("sequence", {"rounds": 2, "patience": 2, "levels": 3, "channels": 8})
    made = house.train("champion", name="sequence", recipe=recipe)
    house.more(40)
    models = Models(house.home)
    models.look()
    use = models.in_use["sequence"]
    assert use.seats["champion"].fault == ""
    columns = ", ".join(f'"{name}"' for name in MARKET.names)
    rows = house.rows(
        f'SELECT ticker, exchange, market, "interval", event_time, available_time, {columns}'
        " FROM features_market ORDER BY event_time, available_time"
    )
    windows, spoken = Windows(), {}
    for row in (told_of(each, house.clock.now_us()) for each in feature_rows(rows)):
        keep(windows, [row])
        for each in decided(use, with_past(windows, [row]), {}, house.clock)[1]:
            (text,) = each.table()["features"].to_pylist()
            spoken[row.t_us] = text
    lines = [e.line() for e in score(house.dsn, house.place, house.registry, house.clock)]
    assert lines == [f"sequence {made.version}, champion: 45 predictions"]
    batch = house.rows(
        "SELECT epoch_us(event_time) AS t_us, features FROM model_predictions"
        " WHERE model = 'sequence' ORDER BY event_time"
    )
    for t_us, features in zip(*(batch[n].to_pylist() for n in batch.column_names), strict=True):
        assert spoken[t_us] == features
        assert {len(each) for each in json.loads(features).values()} == {WINDOW}
    without_torch(house)


def without_torch(house: WatchedHouse) -> None:
    """Look at the registry in a process that has no torch: the seat says what to install."""
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from serving.signals.models import Models\n"
        "models = Models(Path(sys.argv[1])); models.look()\n"
        "print(models.fault, models.in_use['sequence'].seats['champion'].fault)\n"
    )
    words = [sys.executable, "-W", "ignore", "-c", script, str(house.home)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "torch: is not installed: pip install" in done.stdout
