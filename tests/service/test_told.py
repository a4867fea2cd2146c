"""What a worker tells: the board that hears it shows what the rows say, whatever comes twice."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import orjson
import pyarrow as pa
import pytest
from redis import Redis
from redis.client import Pipeline

from feature_repo.feature_set import MARKET
from feature_repo.trading.money import UNIT, units
from infra.servers.process import wait_until
from lake.bars.kernel import MINUTE_US
from lake.clock import ManualClock, SystemClock
from lake.ingest.intake import Slice
from serving.live.once import Once
from serving.live.seed import nothing_before
from serving.live.told import (
    AGAIN,
    AHEAD,
    BARS_MAX,
    MISSED,
    SAME,
    UPDATE,
    UPDATES_MIN,
    Teller,
    digest,
)
from serving.live.worker import AFTER_ROUNDS, Round, Worker
from serving.service.board import Board
from serving.streams import keys, reader
from serving.streams.connect import connected
from serving.streams.keys import Place
from serving.streams.publisher import Publisher

SHARDS = itertools.count(900)
START_US = 1_700_000_040_000_000 // MINUTE_US * MINUTE_US
SECONDS = 130


def frame(n: int) -> bytes:
    """Return a trade and a quote a second."""
    t = START_US // 1_000 + n * 1_000
    trade = {"ev": "XT", "pair": "BTC-USD", "p": 100 + n, "s": 0.5, "t": t, "c": [2], "i": str(n)}
    quote = {"ev": "XQ", "pair": "BTC-USD", "bp": 99 + n, "bs": 1.5, "ap": 101 + n, "as": 2, "t": t}
    return json.dumps([each | {"x": 1, "r": t} for each in (trade, quote)]).encode()


@pytest.fixture(scope="module")
def told(valkey_url: str) -> dict[str, Any]:
    """Let a worker tell of SECONDS; return what it left in Redis."""
    client, shard = connected(valkey_url, wait_s=60.0), next(SHARDS)
    clock = ManualClock(START_US)
    publisher = Publisher(valkey_url, shard, 1, 1, ManualClock())  # no answer is too slow for it
    opened = reader.opened(client, "told", shard, SystemClock())
    assert opened is not None
    seed = nothing_before(START_US)
    teller, rounds = Teller(shard), list[Round]()

    def effects(pipe: Pipeline, given: Round) -> None:
        rounds.append(given)
        teller(pipe, given)

    given: Any = {"grace_us": 0, "effects": effects, "afterwards": teller.afterwards}
    with Worker(opened, Once(), MARKET, clock, seed=seed, **given) as worker:
        for n in range(SECONDS):
            received_us = START_US + n * 1_000_000 + 1_000
            publisher.frames(Slice("sim", 0, n + 1, [frame(n)], [received_us]))
        assert wait_until(SystemClock(), lambda: publisher.done.frames == SECONDS, 60)
        publisher.close()
        clock.step(SECONDS * 1_000_000)
        while worker.round(1) is not None:
            pass
        for _ in range(AFTER_ROUNDS):
            worker.round(1)
    entries: Any = client.xrange(keys.updates(shard))
    kept: Any = client.zrange(keys.bars("sim:1", "spot", "X:BTCUSD", "1m"), 0, -1)
    minutes: Any = client.xrange(keys.minutes(shard))
    found = {
        "minutes": [fields for _, fields in minutes],
        "updates": [orjson.loads(fields[UPDATE]) for _, fields in entries],
        "bars": [orjson.loads(raw) for raw in kept],
        "features": client.get(keys.features("sim:1", "spot", "X:BTCUSD")),
        "rounds": rounds,
    }
    client.close()
    return found


@pytest.mark.parametrize("times", [1, 3])
def test_the_board_has_the_last_trade_and_quote(told: dict[str, Any], times: int) -> None:
    board = Board(ManualClock(START_US + SECONDS * 1_000_000))
    for _ in range(times):  # an update that comes again changes nothing
        for update in told["updates"]:
            board.take(update)
    (row,) = board.prices()
    last = SECONDS - 1
    assert float(row["price"]) == 100 + last
    assert (float(row["bid_price"]), float(row["ask_price"])) == (99 + last, 101 + last)
    assert row["t"] == START_US + last * 1_000_000
    assert row["is_fresh"]
    instrument = board.instrument("X:BTCUSD", "", "")
    assert instrument is not None
    assert board.features(instrument) is not None


def test_a_price_names_the_frame_that_said_it_and_rests_on_the_round_s_last(
    told: dict[str, Any],
) -> None:
    board = Board(ManualClock(START_US))
    update = next(each for each in told["updates"] if each["prices"])
    (price,), (quote,) = update["prices"], update["quotes"]
    frame = 1 + int(float(price["price"])) - 100
    many = {**update, "frames": [[1, frame + 7], [2, frame + 9]]}  # more frames came with it
    board.take(many)
    instrument = board.instrument("X:BTCUSD", "", "")
    assert instrument is not None
    seen = board.told(instrument)
    assert seen is not None
    for rest, row in ((seen.trade_rest, price), (seen.quote_rest, quote)):
        assert rest is not None
        assert rest.words == f"{update['shard']}:{frame}-{frame}"
        assert rest.frames == (Place(1, frame + 7), Place(2, frame + 9))
        assert row["s"] >> 16 == frame


def test_an_older_update_takes_no_newer_ones_place(told: dict[str, Any]) -> None:
    board = Board(ManualClock(START_US))
    for update in told["updates"]:
        board.take(update)
    before = board.prices()
    first = told["updates"][0]
    old = {**first["prices"][0], "t": START_US - 1, "s": 0, "price": "1"}
    assert board.take({**first, "prices": [old], "quotes": [], "bars": [], "features": []}) == []
    assert board.prices() == before
    jumped = {**old, "t": START_US + 200_000_000, "price": "500"}
    board.take({**first, "prices": [jumped], "quotes": [], "bars": [], "features": []})
    instrument = board.instrument("X:BTCUSD", "", "")
    assert instrument is not None
    seen = board.told(instrument)
    assert seen is not None
    assert seen.trade is not None
    assert (seen.trade.price, seen.usual) == (500 * UNIT, units(before[0]["price"]))


def test_closed_bars_are_kept_once_each_in_their_order(told: dict[str, Any]) -> None:
    assert [bar["t"] for bar in told["bars"]] == [START_US, START_US + MINUTE_US]
    first = told["bars"][0]
    assert (float(first["open"]), float(first["close"]), float(first["high"])) == (100, 159, 159)
    assert len(told["bars"]) <= BARS_MAX
    newest = orjson.loads(told["features"])
    end_us = START_US + 2 * MINUTE_US
    # the last trade of the minute was received a second before its end
    assert (newest["t"], newest["known"]) == (end_us, end_us)


def test_models_are_told_of_minutes_that_closed_before_the_newest(told: dict[str, Any]) -> None:
    (closing,) = [each for each in told["updates"] if each["features"]]
    ends = [START_US + n * MINUTE_US for n in (1, 2)]
    assert [row["t"] for row in closing["features"]] == ends[-1:]
    (minutes,) = told["minutes"]
    assert orjson.loads(minutes[UPDATE])["features"] == closing["features"]
    missed = orjson.loads(minutes[MISSED])["features"]
    assert [row["t"] for row in missed] == ends[:-1]
    assert minutes.keys() == {UPDATE, MISSED}  # none is said to be corrected


def test_a_corrected_row_is_told_as_one_that_was_there(told: dict[str, Any]) -> None:
    (closing,) = [each for each in told["rounds"] if each.bars is not None]
    changes = pa.array(["corrected"] * closing.features.num_rows)
    at = closing.features.column_names.index("change")
    features = closing.features.set_column(at, "change", changes)
    commands = _commands(Teller(8), replace(closing, features=features))
    minute = _of_minutes(commands, 8)
    assert minute[minute.index(AGAIN) + 1] == b"[0]"
    assert MISSED not in minute


def test_what_is_made_ready_is_told_ahead_once_and_then_that_it_is_so(
    told: dict[str, Any],
) -> None:
    (closing,) = [each for each in told["rounds"] if each.bars is not None]
    assert closing.features.num_rows
    before = replace(closing, bars=None, gone=None, features=None)
    plain, ready = Teller(7), Teller(7)
    ready.beforehand(closing.bars, closing.gone, closing.features)
    commands = [_commands(ready, each) for each in (before, before, closing)]
    ahead = _of_minutes(commands[0], 7)
    assert [each for each in commands[0] if each is not ahead] == commands[1]
    assert commands[1] == _commands(plain, before)
    text = ahead[ahead.index(AHEAD) + 1]
    whole = _commands(plain, closing)
    minute, update = (_of_minutes(each, 7) for each in (commands[2], whole))
    assert [each for each in commands[2] if each is not minute] == [
        each for each in whole if each is not update
    ]
    assert update[update.index(UPDATE) + 1] == b'{"features":' + text + b"}"
    assert minute[minute.index(SAME) + 1] == digest(text)
    assert minute[minute.index(MISSED) + 1] == update[update.index(MISSED) + 1]
    assert UPDATE not in minute


def test_what_was_not_told_ahead_is_told_whole(told: dict[str, Any]) -> None:
    (closing,) = [each for each in told["rounds"] if each.bars is not None]
    ready = Teller(7)
    ready.beforehand(closing.bars, closing.gone, closing.features)
    commands = _commands(ready, closing)  # no round between
    assert UPDATE in _of_minutes(commands, 7)
    ready = Teller(7)
    ready.beforehand(closing.bars, closing.gone, closing.features)
    _commands(ready, replace(closing, bars=None, gone=None, features=None))
    late = replace(closing, features=closing.features.slice(0))  # made again, for what came late
    assert UPDATE in _of_minutes(_commands(ready, late), 7)


@pytest.mark.parametrize(("instruments", "bytes_max"), [(1, 100_000), (300, 1_500_000)])
def test_updates_take_so_many_bytes_however_large_each_is(
    told: dict[str, Any], client: Redis, instruments: int, bytes_max: int
) -> None:
    (price, *_), *_ = (each["prices"] for each in told["updates"] if each["prices"])
    many = Round(Place(1, 1), 0, prices=[price] * instruments)
    shard = next(SHARDS)
    teller, stream = Teller(shard, updates_bytes=bytes_max), keys.updates(shard)
    for n in range(1_000):
        pipe = client.pipeline()
        teller(pipe, replace(many, received_us=n))
        pipe.execute()
    size: Any = client.memory_usage(stream, samples=0)
    assert bytes_max / 2 < size < 1.5 * bytes_max
    assert UPDATES_MIN < client.xlen(stream) < n
    newest: Any = client.xrevrange(stream, count=1)
    assert orjson.loads(newest[0][1][UPDATE])["received_us"] == n


def test_who_begins_keeps_what_one_that_died_had_told(told: dict[str, Any], client: Redis) -> None:
    (closing,) = [each for each in told["rounds"] if each.bars is not None]
    shard = next(SHARDS)
    dying = Teller(shard)
    pipe = client.pipeline()
    dying(pipe, closing)
    pipe.execute()
    following = Teller(shard)
    assert not _kept(following)
    following.begin(client)
    assert len(_kept(following)) == 2  # bars, features
    assert _kept(following) == _kept(dying)
    for _ in range(AFTER_ROUNDS + 1):
        following = Teller(shard)
        following.begin(client)
        assert _kept(following) == _kept(dying)
        pipe = client.pipeline()
        following(pipe, replace(closing, bars=None, gone=None, features=None))
        pipe.execute()
    following = Teller(shard)
    following.begin(client)
    assert not _kept(following)  # it is long since done


def _kept(teller: Teller) -> list[tuple[Any, ...]]:
    pipe = Redis().pipeline()
    teller.afterwards(pipe)
    return [args for args, _ in pipe.command_stack]


def _of_minutes(commands: list[tuple[Any, ...]], shard: int) -> tuple[Any, ...]:
    """Return the one command that adds to a shard's stream of minutes."""
    (found,) = [each for each in commands if each[1] == keys.minutes(shard)]
    return found


def _commands(teller: Teller, given: Round) -> list[tuple[Any, ...]]:
    pipe = Redis().pipeline()
    teller(pipe, given)
    return [args for args, _ in pipe.command_stack] + _kept(teller)
