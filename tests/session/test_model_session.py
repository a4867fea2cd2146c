"""A session whose strategy follows the home's champion decides the same in a replay."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lake.clock import SystemClock
from lake.errors import Unavailable
from serving.live.once import Once
from serving.session.champion import models_of
from serving.session.models import NoModels
from serving.session.plan import Plan
from serving.session.session import Decided, Out, Session
from serving.session.words import Word
from serving.signals.models import Models
from tests.session.market import FEED, MINUTE_US, NOON_US, PLAN, market, start
from tests.signals.registry_home import RegistryHome

FOLLOWS = Plan({"model-signal": {"size": "0.1", "short": "yes"}}, PLAN.cash, PLAN.costs)
FRAMES = 700
STEP_US = 8_000_000
"""An hour and a half: the features remember 30 minutes."""


def decided(home: Path, version: str, cuts: tuple[int, ...]) -> list[Out]:
    """Return what a session says whose log names a version from its first frame on."""
    found, once, at = market(11, FRAMES, step_us=STEP_US), Once(exact=True), 0
    models = models_of(FOLLOWS, Models(home), SystemClock())
    outs: list[Out] = []
    with Session(start(FOLLOWS), models=models) as session:
        session.word(Word("model", 0, NOON_US, {"version": version}))
        for place in (*cuts, FRAMES):
            session.take(once.take([(FEED, found.frames(at, place))]).tables)
            outs += session.drain()
            at = place
    return outs


def test_a_model_s_session_is_decided_again_by_the_version_that_its_log_names(
    tmp_path: Path, give_registry: Callable[[Path], None]
) -> None:
    home = RegistryHome(tmp_path, give_registry)
    first = home.train("champion")
    models = Models(tmp_path)
    models.look()
    version = models_of(FOLLOWS, models, SystemClock()).newest()
    assert version == f"direction/{first.version}"
    live = decided(tmp_path, version, (1, 40, 41, 300, 555))
    home.train("champion", seed=2)  # another champion by the time of the replay
    assert decided(tmp_path, version, ()) == live
    orders = [each.said for each in live if isinstance(each.said, Decided)]
    assert orders
    assert {each.model for each in orders} == {version}
    key = re.compile(r"features_market:[\w.:-]+/spot/X:(BTC|ETH)USD/1m@(\d+)")
    rows = [key.fullmatch(each.features) for each in orders]
    assert all(row and int(row[2]) % MINUTE_US == 0 for row in rows)
    with pytest.raises(Unavailable, match="direction/99"):
        decided(tmp_path, "direction/99", ())


def test_who_follows_no_model_asks_none(tmp_path: Path) -> None:
    assert isinstance(models_of(PLAN, Models(tmp_path), SystemClock()), NoModels)
