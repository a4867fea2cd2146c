"""Issue 7, part 3: what a worker told is scored, told and kept once, whoever dies meanwhile."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from redis import Redis

from feature_repo.feature_set import MARKET
from feature_repo.trading.market import Instrument
from flows.features_to_predictions import score
from infra.servers.process import wait_until
from lake import state
from lake.clock import SystemClock
from serving.live.told import digest, feature_rows
from serving.signals.look_back import LookBack
from serving.signals.models import Models
from serving.signals.predictor import LivePredictor
from serving.signals.recorder import Recorder, record
from serving.signals.scorer import SCORED_MS, Scorer, Updates
from serving.signals.scoring import FRESH_US, Told, decided, told_of
from serving.signals.told_signals import SIGNALS_BYTES, NewestSignals
from serving.signals.told_signals import tell as tell_signals
from serving.streams import keys
from serving.streams.connect import connected
from tests.conftest import Databases
from tests.models.watched_house import WatchedHouse, watched_house
from tests.service.serving import served
from tests.signals.in_use import Looks, in_use, told, version
from tests.signals.registry_home import FEATURES, RegistryHome

CLOCK = SystemClock()
SHARDS = itertools.count(1_300)
NAMES = itertools.count()
ENDS_S_MAX = 120.0
TELLS_S_MAX = 40.0
TRIES_MAX = 4
LATE = re.compile("did not answer in|still at work")
"""Said of a model on a busy machine: then the same is asked again."""


@pytest.fixture
def client(valkey_url: str) -> Iterator[Redis]:
    client = connected(valkey_url, wait_s=60.0)
    yield client
    client.close()


def row(ticker: str, t_us: int, **more: Any) -> dict[str, Any]:
    """Return features as a worker tells them."""
    values = dict.fromkeys(MARKET.names) | dict.fromkeys(FEATURES, 0.5)
    where = {"ticker": ticker, "exchange": "sim", "market": "spot", "interval": "1m"}
    return {**where, "t": t_us, "known": t_us + 1, "degraded": [], "values": values, **more}


def tell(client: Redis, shard: int, *rows: dict[str, Any]) -> None:
    """Tell of rows as a worker does."""
    client.sadd(keys.SHARDS, shard)
    client.xadd(keys.minutes(shard), {"u": orjson.dumps({"features": rows})})
    for each in rows:
        key = keys.features(each["exchange"], each["market"], each["ticker"])
        client.set(key, orjson.dumps(each), px=60_000)


def ticker() -> str:
    return f"X:N{os.getpid()}N{next(NAMES)}USD"


@contextmanager
def process(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    words = (sys.executable, "-m", "serving.signals.run", str(home), "beside")
    made = subprocess.Popen(words, stdin=subprocess.PIPE)
    try:
        yield made
    finally:
        assert made.stdin is not None
        made.stdin.close()  # it ends with whoever started it
        assert made.wait(ENDS_S_MAX) in (0, -signal.SIGKILL)


def test_minutes_are_told_and_kept_once_though_the_process_is_killed(
    tmp_path: Path,
    give_registry: Callable[[Path], None],
    migrated_dsn: str,
    valkey_url: str,
    client: Redis,
) -> None:
    house = RegistryHome(tmp_path, give_registry)
    state.write_state(
        house.home, {"postgres": {"dsn": migrated_dsn}, "valkey": {"url": valkey_url}}
    )
    shard, one, other = next(SHARDS), ticker(), ticker()
    now_us = CLOCK.now_us()
    tell(client, shard, row(one, now_us - 1_000_000), row(other, now_us, degraded=["rsi_14"]))
    signals = NewestSignals(client)

    def heard() -> list[str]:
        found = [each for each in signals.newest(1_000) if each.instrument.ticker in (one, other)]
        return [f"{each.instrument.ticker} {each.version} {each.role}" for each in found]

    def kept() -> list[Any]:
        with psycopg.connect(migrated_dsn) as connection:
            return connection.execute(
                "SELECT ticker, model_version, role, source, contributions IS NOT NULL"
                " FROM market.model_predictions WHERE ticker IN (%s, %s) ORDER BY 1, 2, event_time",
                (one, other),
            ).fetchall()

    with process(house.home) as first:
        house.train("champion")  # while it waits for one
        house.train("shadow", seed=2)
        for _ in range(TRIES_MAX):  # a version that is late on a busy machine says nothing of a row
            if wait_until(CLOCK, lambda: len(kept()) == 2, TELLS_S_MAX):
                break
            one, other, now_us = ticker(), ticker(), CLOCK.now_us()
            tell(client, shard, row(one, now_us), row(other, now_us, degraded=["rsi_14"]))
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    said = [(one, 1, "champion", "live", True), (one, 2, "shadow", "live", True)]
    assert (heard(), kept()) == ([f"{one} 1 champion"], said)
    house.registry.set_role("direction", 2, "champion")
    with process(house.home):
        for n in range(TRIES_MAX):
            tell(client, shard, row(other, now_us + 1_000 * (n + 1)))
            if wait_until(CLOCK, lambda: len(kept()) == 3, TELLS_S_MAX):
                break
        assert heard() == [f"{other} 2 champion", f"{one} 1 champion"]
    assert kept() == [*said, (other, 2, "champion", "live", True)]


def test_the_service_answers_what_the_process_says_and_why(
    tmp_path: Path, give_registry: Callable[[Path], None], valkey_url: str, client: Redis
) -> None:
    house = RegistryHome(tmp_path, give_registry)
    models = Models(house.home)
    predictor = LivePredictor(models, client, CLOCK)
    name, now_us = ticker(), CLOCK.now_us()
    asked = {"ticker": name, "exchange": "sim", "market": "spot"}
    with served(valkey_url, tmp_path, predictor=predictor) as service, service.http() as http:

        def predict(**more: Any) -> tuple[int, Any]:
            for _ in range(TRIES_MAX):
                answer = http.post("/v1/predict", json=asked | more, headers=bearer(service))
                if not LATE.search(answer.text):
                    break
            return answer.status_code, answer.json()

        models.look()
        code, said = predict()
        assert (code, said["error"]["fault"][:14]) == (503, "none is in use")
        assert http.get("/v1/prices").status_code == 200
        house.train("champion")
        models.look()
        assert predict()[0] == 404
        for known in (
            row(name, now_us - FRESH_US - 1_000_000),
            row(name, now_us, degraded=["return_1"]),
            row(name, now_us, values={}),
        ):
            tell(client, service.shard, known)
            assert predict()[1]["error"]["fault"] == "has no fresh features"
        tell(client, service.shard, row(name, now_us))
        code, said = predict()
        assert (code, said["role"], said["version"], said["fallback"]) == (200, "champion", "1", "")
        assert said["prediction_id"] == f"direction/1/sim/spot/{name}/{now_us}/{now_us + 1}"
        assert (said["contributions"], said["known_us"]) == ({}, now_us + 1)
        explained = predict(explain=True)[1]
        assert explained["prediction"] == said["prediction"]
        assert set(explained["contributions"]) == set(FEATURES)
        recorder = Recorder("")
        scorer = Scorer(client, recorder, CLOCK, lambda: models.in_use, dict)
        scorer.score([told_of(row(name, now_us), CLOCK.now_us())])
        (signal_,) = [e for e in predictor.signals(50) if e.instrument.ticker == name]
        assert signal_.prediction_id == said["prediction_id"]
        shown = http.get("/v1/signals", headers=bearer(service)).json()["rows"]
        assert name in {each["ticker"] for each in shown}


def bearer(service: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {service.words['read']}"}


def test_redis_away_is_one_sentence() -> None:
    away = connected("redis://127.0.0.1:1")
    models = Models(Path("/nowhere"))
    models.in_use = {"direction": in_use(champion=version(1))}
    predictor = LivePredictor(models, away, CLOCK)
    for ask in (
        lambda: predictor.predict(Instrument("X:BTCUSD", "sim", "spot"), explain=False),
        lambda: predictor.signals(5),
    ):
        with pytest.raises(Exception, match="redis: does not answer"):
            ask()


@pytest.fixture(scope="module")
def house(
    databases: Databases, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WatchedHouse]:
    with watched_house(databases, migrated_template, tmp_path_factory.mktemp("home")) as house:
        yield house


def test_what_was_said_live_the_batch_does_not_say_again(house: WatchedHouse) -> None:
    made = house.train("champion")
    house.more(40)
    rows = house.rows("FROM features_market ORDER BY event_time DESC LIMIT 12")
    models = Models(house.home)
    models.look()
    use = models.in_use["direction"]
    live = [told_of(each, house.clock.now_us()) for each in feature_rows(rows)]
    tries = (decided(use, live, {}, house.clock)[1] for _ in range(TRIES_MAX))
    spoken = next(found for found in tries if found)
    table = spoken[0].explained().table()
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        assert record(connection, table) == 12
        assert record(connection, table) == 0
        # long before the lake's row was made
        connection.execute("ALTER TABLE market.model_predictions DISABLE TRIGGER ALL")
        connection.execute(
            "UPDATE market.model_predictions SET features_recorded_time = '2020-01-01'"
        )
    lines = [e.line() for e in score(house.dsn, house.place, house.registry, house.clock)]
    assert lines == [f"direction {made.version}, champion: 33 predictions"]  # five, and 40 less 12
    found = house.rows(
        "SELECT source, count(*) AS n, count(DISTINCT event_time) AS bars FROM model_predictions"
        " GROUP BY 1 ORDER BY 1"
    )
    assert found["n"].to_pylist() == found["bars"].to_pylist() == [33, 12]
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        both = record(connection, spoken[0].table())
    assert both == 0


def test_what_waits_is_bounded_and_goes_once_the_database_is_back(service_dsn: str) -> None:
    recorder = Recorder(service_dsn)
    _, spoken = decided(in_use(champion=version(1)), [told(n) for n in range(30)], {}, CLOCK)
    for _ in range(2_000):
        recorder.put(spoken)
    assert recorder.left_out == 2_000 * 30 - 50_000 // 30 * 30
    recorder.end()
    recorder.run()
    assert recorder.recorded == 30


def test_what_is_told_takes_so_many_bytes_however_much_it_is(client: Redis) -> None:
    client.delete(keys.SIGNALS)
    for n in range(50):
        tell_signals(client, [b"%d" % n, b'"' + b"s" * 1_000_000 + b'"'])
    size: Any = client.memory_usage(keys.SIGNALS, samples=0)
    newest: Any = client.xrevrange(keys.SIGNALS, count=1)
    client.delete(keys.SIGNALS)
    assert SIGNALS_BYTES / 2 < size < 1.2 * SIGNALS_BYTES
    assert orjson.loads(newest[0][1][b"s"])[0] == n


def test_updates_that_can_t_be_read_are_left(client: Redis) -> None:
    shard, name = next(SHARDS), ticker()
    updates = Updates(client, CLOCK)
    client.sadd(keys.SHARDS, shard)
    for raw in (b'{"features":[{', b'{"features":[{"ticker":"X"}]}', b"", b"\xff"):
        client.xadd(keys.minutes(shard), {"u": raw})
    now_us = CLOCK.now_us()
    tell(client, shard, row(name, now_us - 5), row(name, now_us))
    found: list[Any] = []

    def is_read() -> bool:
        found.extend(updates.read(10))
        return any(each.instrument.ticker == name for each in found)

    assert wait_until(CLOCK, is_read, ENDS_S_MAX)
    assert [e.t_us for e in found if e.instrument.ticker == name] == [now_us]


def test_one_that_starts_has_the_rows_before_as_far_as_none_lacks(client: Redis) -> None:
    shard, name = next(SHARDS), ticker()
    now_us = CLOCK.now_us()
    times = [now_us - n * 60_000_000 for n in range(6, -1, -1)]
    rows = [
        row(name, t_us, values={**dict.fromkeys(MARKET.names), "rsi_14": n})
        for n, t_us in enumerate(times)
    ]
    for n in (0, 1):
        tell(client, shard, rows[n])
    client.xadd(keys.minutes(shard), {"n": b""})
    again = row(name, times[1], values={**dict.fromkeys(MARKET.names), "rsi_14": 9})
    entry: Any = {"u": orjson.dumps({"features": [again]}), "c": b"[0]"}
    client.xadd(keys.minutes(shard), entry)
    missed = orjson.dumps({"features": rows[2:5]})
    entry = {"u": orjson.dumps({"features": [rows[5]]}), "m": missed}
    client.xadd(keys.minutes(shard), entry)
    tell(client, shard, rows[6])
    for _ in range(2):  # whoever starts after it, too
        look_back = LookBack()
        found = Updates(client, CLOCK, look_back).read(10)
        mine = [each for each in found if each.instrument.ticker == name]
        assert [each.t_us for each in mine] == times[-1:]
        model = in_use(champion=version(1, Looks()))
        (ready,) = look_back.ready(model, mine)
        before = ready.past.newest(("rsi_14",), 4)
        assert before is not None
        assert before[:, 0].tolist() == [2, 3, 4, 5]
        assert ready.past.newest(("rsi_14",), 5) is None


@pytest.mark.parametrize("age_ms", [0, SCORED_MS + 60_000])
def test_an_update_whose_rows_are_gone_is_silent_and_windows_begin_anew(
    client: Redis, caplog: pytest.LogCaptureFixture, age_ms: int
) -> None:
    shard, name = next(SHARDS), ticker()
    now_us = CLOCK.now_us()
    places = (f"{now_us // 1_000 - age_ms}-{n}" for n in itertools.count(1))
    row_of = partial(row, name)
    whole: Any = {"u": orjson.dumps({"features": [row_of(now_us - 180_000_000)]})}
    ahead: Any = {"f": orjson.dumps([row_of(now_us - 60_000_000)])}
    missed = orjson.dumps({"features": [row_of(now_us - 120_000_000)]})
    gone: Any = {"s": digest(b"of what was cut off"), "m": missed}
    for each in (whole, ahead, gone):
        client.xadd(keys.minutes(shard), each, next(places))
    tell(client, shard, row_of(now_us))
    look_back = LookBack()
    with caplog.at_level("WARNING", "ticklake.signals"):
        found = Updates(client, CLOCK, look_back).read(10)
    said = f"{keys.minutes(shard)}: the rows of an update are gone"
    assert (said in caplog.text) == (age_ms == 0)
    (mine,) = [each for each in found if each.instrument.ticker == name]
    assert mine.t_us == now_us
    (ready,) = look_back.ready(in_use(champion=version(1, Looks())), [mine])
    assert len(ready.past.values) == 0


def test_what_was_told_ahead_is_said_as_it_comes_true_and_anew_where_it_is_another(
    client: Redis,
) -> None:
    shard, name = next(SHARDS), ticker()
    updates, recorder = Updates(client, CLOCK), Recorder("")
    model = in_use(champion=version(1))
    scorer = Scorer(client, recorder, CLOCK, lambda: {"direction": model}, dict)
    client.sadd(keys.SHARDS, shard)
    mine: list[Told] = []

    def hear() -> bool:
        mine[:] = [row for row in updates.read(10) if row.instrument.ticker == name]
        return bool(mine)

    def told_ahead(rows: list[dict[str, Any]]) -> list[Told]:
        client.xadd(keys.minutes(shard), {"f": orjson.dumps(rows)})
        assert wait_until(
            CLOCK,
            lambda: hear() or any(len(each) == len(rows) for each in updates.ahead()),
            ENDS_S_MAX,
        )
        scorer.foresee(updates.ahead())
        assert mine == []
        (found,) = (each for each in updates.ahead() if each[0].instrument.ticker == name)
        return found

    now_us = CLOCK.now_us()
    foreseen = told_ahead([row(name, now_us)])
    foreseen_us = CLOCK.now_us()
    client.xadd(keys.minutes(shard), {"s": digest(orjson.dumps([row(name, now_us)]))})
    assert wait_until(CLOCK, hear, ENDS_S_MAX)
    assert mine[0] is foreseen[0]
    (said,) = scorer.score(mine)
    assert said.made_us <= foreseen_us
    assert said.prediction_id == f"direction/1/sim/spot/{name}/{now_us}/{now_us + 1}"
    told_ahead([row(name, now_us + 10)])
    foreseen_us = CLOCK.now_us()
    tell(client, shard, row(name, now_us + 20))
    assert wait_until(CLOCK, hear, ENDS_S_MAX)
    (said,) = scorer.score(mine)
    assert said.made_us >= foreseen_us
    assert said.prediction_id == f"direction/1/sim/spot/{name}/{now_us + 20}/{now_us + 21}"
