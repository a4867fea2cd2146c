"""A session whose strategy follows the home's champion decides the same in a replay."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import pyarrow.compute as pc
import pytest

from feature_repo.feature_set import MARKET
from feature_repo.ledger.commands import Cash, Place
from feature_repo.ledger.writer import Writer
from feature_repo.trading.market import Instrument
from feature_repo.trading.money import UNIT
from feature_repo.trading.order import Order
from infra.command.main import run
from lake.clock import SystemClock
from lake.errors import Unavailable
from lake.state import write_state
from serving.live.live_bars import CHANGE, CLOSED, LiveBars
from serving.live.live_features import LiveFeatures
from serving.live.once import Once
from serving.live.told import feature_rows
from serving.session.answers import Answers
from serving.session.minutes import GRACE_US
from serving.session.model_choice import models_of
from serving.session.models import NoModels
from serving.session.outs_to_commands import Commands
from serving.session.plan import Plan
from serving.session.rows_to_events import events_of
from serving.session.session import Decided, Out, Session
from serving.session.words import Word
from serving.signals.models import Models
from serving.signals.prediction import key_of
from serving.signals.recorder import record
from serving.signals.route import CANARY, Route
from serving.signals.route_log import Entry, keep
from serving.signals.scoring import Told, told_of
from serving.signals.scoring import decided as scored
from tests.session.market import CODE, FEED, MINUTE_US, NOON_US, PLAN, market, start
from tests.signals.registry_home import RegistryHome

FOLLOWS = Plan({"model-signal": {"size": "0.1", "short": "yes"}}, PLAN.cash, PLAN.costs)
FRAMES = 700
STEP_US = 8_000_000
"""An hour and a half: the features remember 30 minutes."""


def decided(home: Path, version: str, cuts: tuple[int, ...], *, ahead: bool = False) -> list[Out]:
    """Return what a session says whose log names a version from its first frame on.

    ahead: the next close is made ready at each cut, and some are taken as they were made.
    """
    found, once, at = market(11, FRAMES, step_us=STEP_US), Once(exact=True), 0
    models = models_of(FOLLOWS, Models(home), SystemClock())
    outs: list[Out] = []
    used = 0
    with Session(start(FOLLOWS), models=Answers(models)) as session:
        session.word(Word("model", 0, NOON_US, {"version": version}))
        for place in (*cuts, FRAMES):
            due_us, is_ready = session.due_us, session._minutes._bars._ready is not None
            session.take(once.take([(FEED, found.frames(at, place))]).tables)
            used += is_ready and session.due_us > due_us
            outs += session.drain()
            at = place
            if ahead:
                session.prepare(session.due_us - 1)
                session._minutes._bars._making.result()
    assert used > 3 if ahead else not used
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
    assert decided(tmp_path, version, (*range(300, 360),), ahead=True) == live
    orders = [each.said for each in live if isinstance(each.said, Decided)]
    assert orders
    assert {each.model for each in orders} == {version}
    key = re.compile(r"features_market:[\w.:-]+/spot/X:(BTC|ETH)USD/1m@(\d+)")
    rows = [key.fullmatch(each.features) for each in orders]
    assert all(row and int(row[2]) % MINUTE_US == 0 for row in rows)
    said = [key_of(each.prediction) for each in orders]
    assert {f"{each.model}/{each.version}" for each in said} == {version}
    assert [each.t_us for each in said] == [int(row[2]) for row in rows if row]
    with pytest.raises(Unavailable, match="direction/99"):
        decided(tmp_path, "direction/99", ())


def test_a_session_follows_the_route_and_its_replay_the_route_of_its_log(
    tmp_path: Path, give_registry: Callable[[Path], None]
) -> None:
    home = RegistryHome(tmp_path, give_registry)
    home.train("champion")
    home.train("challenger", seed=2)
    keep(home.registry, "direction", Entry(1, "me", Route(CANARY, 0.5, by="request")))
    models = Models(tmp_path)
    models.look()
    chosen = models_of(FOLLOWS, models, SystemClock()).newest()
    live = decided(tmp_path, chosen, (1, 40, 41, 300, 555))
    orders = [each.said for each in live if isinstance(each.said, Decided)]
    assert {each.model for each in orders} == {"direction/1", "direction/2"}
    assert all(each.prediction.startswith(f"{each.model}/") for each in orders)
    keep(home.registry, "direction", Entry(2, "me", Route()))
    home.registry.set_role("direction", 2, "champion")
    assert decided(tmp_path, chosen, ()) == live


def told(home: Path) -> list[Told]:
    """Return what a worker tells of the market's minutes as they close."""
    tables = Once(exact=True).take([(FEED, market(11, FRAMES, step_us=STEP_US).frames())]).tables
    known = events_of(tables, NOON_US, -1)
    seqs = known.trades["seq"].to_numpy()
    found: list[Told] = []
    with LiveBars(NOON_US - GRACE_US) as bars:
        features, taken = LiveFeatures(MARKET), 0
        for due_us in range(NOON_US + MINUTE_US, int(known.known_us[-1]), MINUTE_US):
            last = int(np.searchsorted(known.known_us, due_us + GRACE_US))
            upto = int(np.searchsorted(seqs, known.seq[last - 1], "right")) if last else 0
            bars.take(known.trades.slice(taken, upto - taken))
            taken = upto
            rows = features.take(bars.step(due_us))
            closed = rows.filter(pc.equal(rows[CHANGE], CLOSED))
            found += [told_of(row, due_us + GRACE_US) for row in feature_rows(closed)]
    return found


def test_an_order_of_a_model_leads_to_the_row_of_what_it_said(
    tmp_path: Path,
    give_registry: Callable[[Path], None],
    migrated_dsn: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = RegistryHome(tmp_path, give_registry)
    version = home.train("champion").version
    write_state(tmp_path, {"postgres": {"dsn": migrated_dsn}})
    models, clock = Models(tmp_path), SystemClock()
    models.look()
    outs, commands = decided(tmp_path, f"direction/{version}", ()), Commands(start(FOLLOWS))
    _, spoken = scored(models.in_use["direction"], told(tmp_path), {}, clock)
    with psycopg.connect(migrated_dsn, autocommit=True) as connection:
        for each in spoken:
            record(connection, each.table())
    with closing(Writer(migrated_dsn, clock)) as ledger:
        ledger.commit([Cash("model-signal", PLAN.cash, NOON_US, "opening")])
        ledger.commit([command for out in outs for command in commands.of(out)])
    orders = [each.said for each in outs if isinstance(each.said, Decided)]
    for each in orders:
        name = f"{start(FOLLOWS).session}/{each.order.client_id}"
        assert run(["ledger", "show", name, "--home", str(tmp_path), "--json"]) == 0
        ((said, row),) = json.loads(capsys.readouterr().out)["predictions"].items()
        assert said == each.prediction
        assert row["model_version"] == str(version)
        assert (float(row["prediction"]) > 0) == (each.order.side == "buy")


def test_an_order_of_before_that_names_no_prediction_is_the_same_order(migrated_dsn: str) -> None:
    """A session of an earlier version goes on under this one."""
    origin = {"ticks": "0:1-2", "features": "f", "model": "direction/1", "code": CODE}
    order = Order(Instrument("X:BTCUSD", "sim", "spot"), "buy", UNIT, client_id="s/1")
    before = Place("model-signal", order, NOON_US, origin)
    with closing(Writer(migrated_dsn, SystemClock())) as ledger:
        (first,) = ledger.commit([before])
        (again,) = ledger.commit([replace(before, origin={**origin, "prediction": "d/1"})])
        (other,) = ledger.commit([replace(before, origin={**origin, "features": "g"})])
    assert (first.is_new, again.is_new, again.event) == (True, False, first.event)
    assert other.refusal is not None


def test_who_follows_no_model_asks_none(tmp_path: Path) -> None:
    assert isinstance(models_of(PLAN, Models(tmp_path), SystemClock()), NoModels)
