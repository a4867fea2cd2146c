"""Issue 7, part 3: a session follows the route that shares rows, a replay the one of its log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from redis import Redis

from feature_repo.trading.market import Instrument, Row
from feature_repo.trading.streams import times_of
from lake.clock import ManualClock
from lake.errors import Unavailable
from serving.session.answers import Answers, unanswered
from serving.session.models import Shared
from serving.session.words import Word
from serving.signals.choice import Choice, ChosenModels, OutcomesSeen, choice_of
from serving.signals.models import InUse
from serving.signals.outcomes import as_json
from serving.signals.route import BANDIT, CANARY, EXPERIMENT, Outcomes, Route
from serving.signals.scoring import decided
from serving.streams import keys
from serving.streams.connect import connected
from tests.signals.in_use import START_US, in_use, told, version

CLOCK = ManualClock(START_US + 1_000_000)
ROWS = [told(n) for n in range(40)]
HALF = Route(EXPERIMENT, 0.5, experiment="spring")
BOTH = {"champion": "direction/1", "challenger": "direction/2"}


class Registry:
    """Models in use, without a home."""

    def __init__(self, use: InUse) -> None:
        self.in_use = {"direction": use}

    def version(self, name: str, number: int) -> Any:
        seats = self.in_use[name].seats.values()
        return next(seat.now for seat in seats if seat.now and seat.now.version.version == number)


def features(n: int = 40, t_us: int = START_US) -> pa.Table:
    """Return features of n instruments' minute, as a worker makes them."""
    rows = [told(each) for each in range(n)]
    times = pa.array([t_us] * n, pa.timestamp("us", "UTC"))
    names = {
        name: [getattr(row.instrument, name) for row in rows]
        for name in ("ticker", "exchange", "market")
    }
    values = {
        name: pa.array([row.values[name] for row in rows], pa.float64())
        for name in ("return_1", "rsi_14")
    }
    made = {"interval": ["1m"] * n, "event_time": times, "live_time": times, "history_time": times}
    return pa.table({**names, **made, **values})


def answers(use: InUse, *, outcomes: Any = None) -> tuple[ChosenModels, Answers]:
    models = ChosenModels(Registry(use), CLOCK, outcomes=outcomes or (lambda model: {}))  # type: ignore[arg-type]
    return models, Answers(models)


@pytest.mark.parametrize("route", [HALF, Route(CANARY, 0.25), Route(CANARY, 0.5, by="request")])
def test_a_session_asks_whom_the_signals_ask(route: Route) -> None:
    use = in_use(route, champion=version(1), challenger=version(2))
    models, session = answers(use)
    session.use(models.newest())
    said = session.say(features())
    signals = {
        each.instrument: each.prediction_id.rpartition("/")[0]
        for each in decided(use, ROWS, {}, CLOCK)[0]
    }
    assert {each.instrument: each.name.rpartition("/")[0] for each in said} == signals
    assert {each.name.split("/")[1] for each in said} == {"1", "2"}
    assert [each.instrument for each in said] == [row.instrument for row in ROWS]


def test_a_replay_shares_by_its_log_whatever_the_route_is_by_then() -> None:
    use = in_use(HALF, champion=version(1), challenger=version(2))
    models, session = answers(use)
    chosen = models.newest()
    session.use(chosen)
    live = session.say(features())
    _, replay = answers(in_use(champion=version(3), challenger=version(2), shadow=version(1)))
    replay.use(chosen)
    assert replay.say(features()) == live
    replay.use("direction/1")  # as logs of before have it
    assert {each.name.split("/")[1] for each in replay.say(features())} == {"1"}


def test_without_a_challenger_or_a_route_the_choice_is_the_champion() -> None:
    for use in (
        in_use(champion=version(1), challenger=version(2)),
        in_use(HALF, champion=version(1)),
    ):
        assert answers(use)[0].newest() == "direction/1"
    assert answers(in_use(HALF, challenger=version(2)))[0].newest() == ""


def test_a_bandit_s_outcomes_are_in_the_choice(valkey_url: str) -> None:
    route = Route(BANDIT, by="request", floor=0.1, seed=7)
    client: Redis = connected(valkey_url)
    counted = {1: Outcomes(10, 90), 2: Outcomes(900, 100)}
    client.set(keys.OUTCOMES, as_json({"direction": counted}))
    try:
        use = in_use(route, champion=version(1), challenger=version(2))
        models, session = answers(use, outcomes=OutcomesSeen(client, CLOCK).of)
        session.use(chosen := models.newest())
    finally:
        client.delete(keys.OUTCOMES)
        client.close()
    assert choice_of(chosen).outcomes == {"champion": counted[1], "challenger": counted[2]}
    live = session.say(features())
    assert sum(each.name.startswith("direction/2/") for each in live) > len(live) / 2
    _, replay = answers(in_use(champion=version(1), challenger=version(2)))
    replay.use(chosen)
    assert replay.say(features()) == live


def test_a_choice_is_the_text_that_it_was() -> None:
    for route in (Route(), HALF, Route(BANDIT, seed=3)):
        made = Choice("a/b", BOTH, route, {"champion": Outcomes(1, 2)} if route.seed else {})
        found = choice_of(made.text)
        assert found.text == made.text
        assert found.asked(Instrument("X", "sim", "spot"), 1) == made.asked(
            Instrument("X", "sim", "spot"), 1
        )
    for wrong in ("direction", "{}", '{"model": 1', "direction/x", '{"versions": []}'):
        with pytest.raises(Unavailable, match="is none"):
            choice_of(wrong)


class Two:
    """A challenger that is late while it may be, before a champion."""

    def __init__(self) -> None:
        self.late = True

    def newest(self) -> str:
        return ""

    def use(self, choice: str) -> None: ...

    def shared(self, features: pa.Table) -> Shared:
        return [(("direction/2", "direction/1"), features)]

    def say(self, version: str, features: pa.Table) -> Sequence[Row]:
        if self.late and version == "direction/2":
            raise Unavailable("direction 2", "did not answer in 200 ms")
        names = (features[name].to_pylist() for name in ("ticker", "exchange", "market"))
        times = times_of(features["event_time"]).tolist()
        return [
            Row(Instrument(*key), us, us, {"prediction": 0.1}, version)
            for key, us in zip(zip(*names, strict=True), times, strict=True)
            if version == "direction/1" or key[0] != "X:C1USD"  # of that it has no whole vector
        ]


def test_a_challenger_that_is_late_is_stood_in_for_and_so_it_is_in_the_replay() -> None:
    models, words = Two(), list[Word]()
    session = Answers(models)

    def note(version: str, minutes: list[int], why: str) -> None:
        words.append(Word("no_answer", 1, 1, {"version": version, "minutes": minutes, "why": why}))

    session.note = note
    late = session.say(features(3))
    models.late = False
    there = session.say(features(3, START_US + 60_000_000))
    assert [each.name for each in late] == ["direction/1"] * 3
    assert [each.name for each in there] == ["direction/2", "direction/1", "direction/2"]
    replay = Answers(models, unanswered(words))
    assert replay.say(features(3)) == late
    assert replay.say(features(3, START_US + 60_000_000)) == there
