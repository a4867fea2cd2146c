"""A session whose ingest, journal or model is gone takes its orders back, and trading goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from redis import Redis

from feature_repo.trading.market import Instrument, Row
from feature_repo.trading.streams import times_of
from lake.errors import Unavailable
from lake.journal.segment import segments
from serving.risk.kill_switch import KillSwitch
from serving.risk.kill_switch import Word as Said
from serving.session.answers import Answers
from serving.session.forsaking import KILLED_FRAMES_MAX
from serving.session.models import ModelGone, Shared
from serving.session.opening import opened
from serving.session.orders import first_difference, orders_of_ledger
from serving.session.plan import Plan
from serving.session.play import kept_from, recalled
from serving.session.replay import orders_of_journal
from serving.session.session_log import Logged
from serving.session.turns import run_session
from tests.desk.desks import faults_of
from tests.session.market import MINUTE_US, NOON_US, PLAN, market
from tests.session.world import World, orders_by_state

WORKING = ("created", "accepted", "amended", "partially_filled")
RESTS = "mean-reversion"


def working(world: World) -> int:
    """Return how many orders work, as the ledger has them."""
    states = [orders_by_state(world.dsn, account) for account in world.plan.strategies]
    return sum(each.get(kind, 0) for each in states for kind in WORKING)


def traded(world: World, frames: int = 900) -> None:
    """Let a session trade until an order works, and its frames are on the disk."""
    while world.at < frames and not (working(world) and world.live and not world.live._waiting):
        world.send(5)
        world.ingest.sync()
        world.turn()
    assert working(world)


def test_a_kill_is_not_held_up_by_frames_that_never_come_to_the_disk(
    tmp_path: Path, migrated_dsn: str, client: Redis
) -> None:
    world = World(tmp_path, migrated_dsn, client, market(2, 900, step_us=200_000))
    traded(world)
    world.send(3)  # seen, and the ingest is gone before they are on the disk
    world.turn()
    world.kill.throw("a test", "stop")
    for _ in range(20):
        world.turn()
        world.clock.advance(100_000)
    assert working(world) == 0
    world.ingest.sync()
    world.finish()
    world.check()
    world.close()


def test_a_kill_does_not_wait_for_a_long_session_that_is_opened_again(
    tmp_path: Path, migrated_dsn: str, client: Redis
) -> None:
    count = KILLED_FRAMES_MAX + 1_000
    world = World(tmp_path, migrated_dsn, client, market(2, count, step_us=200_000))
    traded(world)
    world.drop()
    world.send(KILLED_FRAMES_MAX, published=False)
    world.ingest.sync()
    world.kill.throw("a test", "stop")
    with pytest.raises(Unavailable, match="was closed: trading was stopped"):
        opened(world.parts())
    assert working(world) == 0
    with opened(world.parts()) as found:
        assert not found.outs
    first, _ = world.sessions()
    assert is_decided_again(world, first) > 0
    assert faults_of(migrated_dsn) == []
    world.close()


def is_decided_again(world: World, logged: Logged) -> int:
    """Hold the ledger against a replay of a session; return how many orders were taken back."""
    replayed = orders_of_journal(world.folder, logged, world.models)
    with psycopg.connect(world.dsn) as connection:
        written = orders_of_ledger(connection, logged.start.session)
    assert first_difference(replayed, written) is None
    assert replayed.digest() == written.digest()
    assert logged.ended is not None
    return len(logged.ended.said["taken_back"])


def test_a_kill_while_a_long_session_is_played_is_not_held_up_by_it(
    tmp_path: Path, migrated_dsn: str, client: Redis
) -> None:
    count = 2 * KILLED_FRAMES_MAX + 2_000
    world = World(tmp_path, migrated_dsn, client, market(2, count, step_us=200_000))
    traded(world)
    world.drop()
    while world.at < count:
        world.send(500, published=False)
        world.ingest.sync()
    late = Later(world.kill, looks=4)
    with pytest.raises(Unavailable, match="is long, and trading was stopped"):
        opened(replace(world.parts(), kill=late))
    with pytest.raises(Unavailable, match="was closed: trading was stopped"):
        opened(world.parts())
    assert working(world) == 0
    (logged,) = world.sessions()
    assert is_decided_again(world, logged) > 0
    world.close()


class Later(KillSwitch):
    """A switch that is thrown once it was looked at so often."""

    def __init__(self, inner: KillSwitch, looks: int) -> None:
        super().__init__(inner._path, None, inner._clock)
        self._inner = inner
        self._looks = looks

    def state(self) -> Said:
        self._looks -= 1
        if self._looks == 0:
            self._inner.throw("a test", "stop")
        return super().state()


class Moody:
    """Models that are late for every third minute, while they may be."""

    def __init__(self) -> None:
        self.may_fail = True
        self.asked = 0

    def newest(self) -> str:
        return "moody/1"

    def use(self, choice: str) -> None:
        pass

    def shared(self, features: pa.Table) -> Shared:
        return [(("moody/1",), features)]

    def say(self, version: str, features: pa.Table) -> Sequence[Row]:
        self.asked += 1
        if self.may_fail and self.asked % 3 == 0:
            raise Unavailable("moody 1", "did not answer in 200 ms", "see the machine")
        names = (features[name].to_pylist() for name in ("ticker", "exchange", "market"))
        times = times_of(features["event_time"]).tolist()
        return [
            Row(Instrument(*key), us, us, {"prediction": (-1.0) ** (us // MINUTE_US)})
            for key, us in zip(zip(*names, strict=True), times, strict=True)
        ]


def test_a_model_that_is_late_says_nothing_of_that_minute_and_so_does_the_replay(
    tmp_path: Path, migrated_dsn: str, client: Redis
) -> None:
    plan = Plan({"model-signal": {"size": "0.1", "short": "yes"}}, PLAN.cash, PLAN.costs)
    models = Moody()
    world = World(
        tmp_path, migrated_dsn, client, market(2, 900, step_us=2_000_000), plan, models=models
    )
    while world.at < 900:
        world.send(5)
        world.ingest.sync()
        world.turn()
        if world.at == 450:
            models.may_fail = False  # what is played again was answered
            world.drop()
            world.turn()
            models.may_fail = True
    assert not world.met
    models.may_fail = False
    world.finish()
    (logged,) = world.sessions()
    silent = [each for each in logged.words if each.kind == "no_answer"]
    assert len(silent) > 3
    assert "did not answer" in silent[0].said["why"]
    assert world.check() > 0
    asked = models.asked
    world.check()
    assert models.asked > asked
    world.close()


def test_what_was_answered_is_asked_again_until_it_is_there() -> None:
    models = Moody()
    models.asked = 2  # so the next one is late
    answers = Answers(models)
    features = features_of_minutes(NOON_US, NOON_US + MINUTE_US)
    assert len(answers.say(features)) == 2
    assert len(Answers(models, [("moody/1", NOON_US)]).say(features)) == 1
    assert len(Answers(models, [("", NOON_US)]).say(features)) == 1  # as words of before have it
    models.asked = 2
    noted: list[list[int]] = []
    answers.note = lambda version, minutes, why: noted.append(minutes)
    assert list(answers.say(features)) == []
    assert noted == [[NOON_US, NOON_US + MINUTE_US]]
    assert list(answers.say(features)) == []  # once and for all


def features_of_minutes(*at_us: int) -> pa.Table:
    count = len(at_us)
    names = {
        "ticker": ["X:BTCUSD"] * count,
        "exchange": ["sim"] * count,
        "market": ["spot"] * count,
    }
    return pa.table({**names, "event_time": pa.array(at_us, pa.timestamp("us", "UTC"))})


def test_a_journal_that_is_sealed_away_closes_its_session_and_a_new_one_begins(
    tmp_path: Path, migrated_dsn: str, client: Redis
) -> None:
    world = World(tmp_path, migrated_dsn, client, market(2, 3_000, step_us=200_000))
    traded(world)
    world.drop()
    while len(segments(world.ingest.folder)) < 3:
        world.send(100, published=False)
        world.ingest.sync()
    for each in segments(world.ingest.folder)[:-1]:
        each.path.unlink()
    recalled(world.ingest.folder, world.shard, kept_from(world.ingest.folder) + 1)
    with pytest.raises(Unavailable, match="its journal is gone"):
        opened(world.parts())
    assert working(world) == 0
    with opened(world.parts()) as found:
        assert not found.is_over
    assert len(world.sessions()) == 2
    world.close()


class Gone:
    """Models of which a version is no more."""

    def newest(self) -> str:
        return "direction/7"

    def use(self, choice: str) -> None:
        if choice:
            raise Unavailable(f"version {choice}", "is damaged", "train it again")

    def shared(self, features: pa.Table) -> Shared:
        return ()

    def say(self, version: str, features: pa.Table) -> Sequence[Row]:
        return ()


def test_a_session_whose_model_is_gone_is_given_up_on_demand(
    tmp_path: Path, migrated_dsn: str, client: Redis
) -> None:
    world = World(tmp_path, migrated_dsn, client, market(2, 900, step_us=200_000))
    traded(world)
    world.drop()
    world.models = Gone()
    with pytest.raises(ModelGone), opened(world.parts()) as found:
        found.say("model", version="direction/7")
    for forsake in ("", "its model is gone"):
        with pytest.raises(Unavailable) as refused:
            run_session(world.parts(), None, lambda: True, forsake)
        assert ("was closed" in str(refused.value)) is bool(forsake)
    assert working(world) == 0
    with psycopg.connect(migrated_dsn) as connection:
        closed = "SELECT count(*) FROM market.live_sessions WHERE word = 'closed'"
        assert connection.execute(closed.encode()).fetchone() == (1,)
    world.close()
