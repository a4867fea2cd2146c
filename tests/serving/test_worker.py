"""From frames in a real Valkey to bars: whoever dies, every bar is given out once, and is right."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from threading import Event
from typing import Any

import orjson
import pyarrow as pa
import pytest
from redis import Redis
from redis.client import Pipeline

from feature_repo.feature_set import MARKET
from infra.servers.process import wait_until
from lake.bars.kernel import MINUTE_US, bars_of_trades
from lake.clock import ManualClock, SystemClock, utc_from_us
from lake.feeds.codec import Frames, frames_of
from lake.ingest.codecs import codecs
from lake.ingest.intake import Slice
from serving.live.once import Once
from serving.live.run import last_lacking
from serving.live.seed import nothing_before
from serving.live.worker import AFTER_ROUNDS, Round, Worker
from serving.streams import keys, latest, reader
from serving.streams.connect import connected
from serving.streams.publisher import Publisher

SHARDS = itertools.count(500)
START_US = 1_700_000_040_000_000 // MINUTE_US * MINUTE_US
FRAMES = 240
GROUP = "workers"
WAIT_S_MAX = 60.0


def frame(n: int) -> bytes:
    """Return a trade a second, of two pairs in turn; every tenth is half a minute late."""
    at_ms = START_US // 1_000 + n * 1_000 - (30_000 if n % 10 == 9 else 0)
    pair = ("BTC-USD", "ETH-USD")[n % 2]
    event = {"ev": "XT", "pair": pair, "p": 100 + n % 7, "s": 0.5 + n % 3, "t": at_ms}
    return json.dumps([event | {"c": [2], "i": str(n), "x": 1, "r": at_ms}]).encode()


RAW = [frame(n) for n in range(FRAMES)]
RECEIVED_US = [START_US + n * 1_000_000 + 1_000 for n in range(FRAMES)]


@pytest.fixture
def client(valkey_url: str) -> Iterator[Redis]:
    client = connected(valkey_url, wait_s=WAIT_S_MAX)
    yield client
    client.close()


class Shard:
    """A shard's stream with all frames, and workers on it that note the bars they give out."""

    def __init__(self, url: str, client: Redis) -> None:
        self.number = next(SHARDS)
        self.client = client
        self.clock = ManualClock(START_US)
        self.out = f"ticklake:test:out:{self.number}"
        # by a clock that stands no answer is too slow, so that it drops nothing
        self.publisher = Publisher(url, self.number, 1, 1, ManualClock())
        self.sent = 0

    def send(self, through: int) -> None:
        for n in range(self.sent, through):
            self.publisher.frames(Slice("sim", 0, n + 1, [RAW[n]], [RECEIVED_US[n]]))
        self.sent = through
        self.has_sent(through)

    def has_sent(self, frames: int) -> None:
        """Wait until so many frames are in Redis."""
        found = self.publisher.done
        assert wait_until(SystemClock(), lambda: found.frames >= frames, WAIT_S_MAX), found

    def worker(self, journal: Frames | None = None, through: int = 0, **more: Any) -> Worker:
        """Take over; through: the last frame that the lake's bars have."""
        self.client.delete(keys.owner(GROUP, self.number))  # the one before is dead
        opened = reader.opened(self.client, GROUP, self.number, SystemClock())
        assert opened is not None
        seed = replace(nothing_before(START_US), through=through)
        words = {"grace_us": 0, **more}
        made = Worker(opened, Once(), MARKET, self.clock, seed=seed, effects=self.note, **words)
        made.catch_up([("sim", journal)] if journal else [], len(journal) if journal else 0)
        return made

    def note(self, pipe: Pipeline, given: Round) -> None:
        if given.bars is None:
            return
        for row in given.bars.to_pylist():
            if row["interval"] == "1m":
                pipe.rpush(self.out, orjson.dumps(_plain(row)))

    def noted(self) -> list[dict[str, Any]]:
        return [orjson.loads(raw) for raw in self.client.lrange(self.out, 0, -1)]  # type: ignore[union-attr]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) for name, value in row.items()}


@pytest.fixture
def shard(valkey_url: str, client: Redis) -> Iterator[Shard]:
    made = Shard(valkey_url, client)
    yield made
    made.publisher.close()


@pytest.mark.parametrize("dies_every", [1_000, 1])
def test_every_bar_is_given_out_once_whoever_dies_and_ends_as_the_batch_has_it(
    shard: Shard, dies_every: int
) -> None:
    worker = shard.worker()
    for i, through in enumerate(range(20, FRAMES + 1, 20)):
        shard.send(through)
        shard.clock.step(RECEIVED_US[through - 1] - shard.clock.now_us())
        while worker.round(1) is not None:
            pass
        if i % dies_every == dies_every - 1:
            worker.close()
            worker = shard.worker()
    shard.clock.step(3 * MINUTE_US)
    worker.round(1)
    worker.close()
    ends_as_the_batch(shard)


def test_what_passed_by_unheard_comes_of_the_journal_and_no_bar_lacks_it(shard: Shard) -> None:
    """The mark lies amid a slice: of what came after it, nothing is missing and nothing twice."""
    before = 95
    shard.publisher.queue.mute()
    for n in range(before):
        shard.publisher.frames(Slice("sim", 0, n + 1, [RAW[n]], [RECEIVED_US[n]]))
    shard.publisher.queue.open()
    ends = (before, before + 10)
    shard.publisher.frames(
        Slice("sim", 0, before + 1, RAW[slice(*ends)], RECEIVED_US[slice(*ends)])
    )
    shard.has_sent(10)
    shard.sent = before + 10
    journal = frames_of(
        RAW[: before + 5], received_us=RECEIVED_US[: before + 5], shard=shard.number
    )
    worker = shard.worker(journal)
    shard.publisher.done.frames = shard.sent
    shard.send(FRAMES)
    shard.clock.step(RECEIVED_US[-1] + 3 * MINUTE_US - shard.clock.now_us())
    while worker.round(1) is not None:
        pass
    assert not worker.degraded.any
    worker.close()
    ends_as_the_batch(shard)


def goes_on_to_the_end(shard: Shard, worker: Worker) -> list[dict[str, Any]]:
    """Let a worker take all that is there; return the bars of a minute that it gives out."""
    while worker.round(1) is not None:
        pass
    shard.clock.step(RECEIVED_US[-1] + 3 * MINUTE_US - shard.clock.now_us())
    assert worker.round(1) is not None
    worker.close()
    return shard.noted()


def trimmed_while_nobody_reads(shard: Shard) -> None:
    """Let a worker take some frames; then more of them pass by than the stream keeps."""
    worker = shard.worker()
    shard.send(30)
    while worker.round(1) is not None:
        pass
    worker.close()
    shard.publisher._stream_bytes_max = 10_000
    for through in range(31, FRAMES + 1):
        shard.send(through)
    shard.publisher.close()  # it trims no more


def test_what_was_trimmed_while_no_worker_ran_is_counted_and_its_bars_are_degraded(
    shard: Shard,
) -> None:
    trimmed_while_nobody_reads(shard)
    kept = shard.client.xlen(keys.frames(shard.number))
    worker = shard.worker()
    bars = goes_on_to_the_end(shard, worker)
    assert worker.figures()["lost"] == FRAMES - kept  # type: ignore[operator]
    assert sum(int(row["trades"]) for row in bars) < FRAMES
    whole = frames_of(RAW, received_us=RECEIVED_US, shard=shard.number)
    batch = bars_of_trades(codecs()["sim"].decode(whole).tables["crypto_trades"], "1m")
    expected = [_plain(row) for row in batch.to_pylist()]
    for row in bars:
        del row["change"]
        assert (row.pop("degraded") == "True") == (row not in expected), row["event_time"]


def test_what_was_trimmed_while_no_worker_ran_comes_of_the_journal_where_it_is(
    shard: Shard,
) -> None:
    trimmed_while_nobody_reads(shard)
    lacking = last_lacking(shard.client, shard.number, 0)
    assert lacking > 30
    journal = frames_of(RAW[:lacking], received_us=RECEIVED_US[:lacking], shard=shard.number)
    worker = shard.worker(journal)
    goes_on_to_the_end(shard, worker)
    assert (worker.figures()["lost"], worker.degraded.any) == (0, False)
    ends_as_the_batch(shard)
    assert last_lacking(shard.client, shard.number, lacking) == 0


def test_a_drop_before_a_restart_is_known_after_it(shard: Shard) -> None:
    first = shard.worker()
    shard.send(30)
    shard.publisher.queue.shut()
    shard.publisher.frames(Slice("sim", 0, 31, [RAW[30]], [RECEIVED_US[30]]))
    shard.publisher.queue.open()
    for n in range(31, FRAMES):
        shard.publisher.frames(Slice("sim", 0, n + 1, [RAW[n]], [RECEIVED_US[n]]))
    shard.has_sent(FRAMES - 1)
    assert first.round(1) is not None
    first.close()
    worker = shard.worker()
    assert worker.figures()["drops"]["trades"] == 1
    bars = goes_on_to_the_end(shard, worker)
    degraded = [row["event_time"] for row in bars if row["degraded"] == "True"]
    assert degraded == [str(utc_from_us(START_US))] * 2  # of two pairs
    assert len(bars) > len(degraded)


def test_a_slice_that_the_lake_has_half_is_read_from_its_middle_on(shard: Shard) -> None:
    first = shard.worker()
    shard.publisher.frames(Slice("sim", 0, 1, RAW[:10], RECEIVED_US[:10]))
    shard.has_sent(10)
    shard.sent = 10
    assert first.round(1) is not None
    first.close()
    shard.send(FRAMES)
    worker = shard.worker(through=5)
    bars = goes_on_to_the_end(shard, worker)
    assert sum(int(row["trades"]) for row in bars) == FRAMES - 5
    assert (worker.figures()["lost"], worker.degraded.any) == (0, False)


def ends_as_the_batch(shard: Shard) -> None:
    """See that bars were given out once each, corrected where they were, and are the batch's."""
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for row in shard.noted():
        key = row["ticker"], row["event_time"]
        change = row.pop("change")
        assert (key in seen) == (change == "corrected"), (key, change)
        assert row.pop("degraded") == "False"
        seen[key] = row
    whole = frames_of(RAW, received_us=RECEIVED_US, shard=shard.number)
    trades = codecs()["sim"].decode(whole).tables["crypto_trades"]
    assert trades.num_rows == FRAMES
    batch = [_plain(row) for row in bars_of_trades(trades, "1m").to_pylist()]
    assert sorted(map(str, seen.values())) == sorted(map(str, batch))


def test_prices_are_the_newest_and_a_drop_is_told_with_the_bars_it_touched(shard: Shard) -> None:
    worker = shard.worker()
    shard.send(30)
    shard.publisher.queue.shut()
    shard.publisher.frames(Slice("sim", 0, 31, [RAW[30]], [RECEIVED_US[30]]))
    shard.publisher.queue.open()
    shard.sent = 31
    for n in range(31, 200):
        shard.publisher.frames(Slice("sim", 0, n + 1, [RAW[n]], [RECEIVED_US[n]]))
    shard.has_sent(199)
    shard.clock.step(RECEIVED_US[199] - shard.clock.now_us())
    rounds: list[Round] = []
    price = None
    key = keys.price("sim:1", "spot", "X:BTCUSD")
    shard.client.delete(key)  # of another test's shard
    while (found := worker.round(1)) is not None:
        rounds.append(found)
        price = latest.latest(shard.client, key) or price
    assert sum(each.dropped for each in rounds) == 1
    bars = pa.concat_tables(each.bars for each in rounds if each.bars is not None)
    minutes = [row for row in bars.to_pylist() if row["interval"] == "1m"]
    degraded = {str(row["event_time"]) for row in minutes if row["degraded"]}
    assert len(degraded) == 1
    (features,) = (each.features for each in rounds if each.features is not None)
    marked = [row["degraded"] for row in features.to_pylist() if row["interval"] == "1m"]
    assert any(marked)
    assert not all(marked) or len(minutes) <= 4
    assert price is not None
    assert (price["seq"], price["price"]) == (199 << 16, f"{100 + 198 % 7}.0000000000")
    worker.close()


def test_a_backlog_s_last_prices_are_latest_for_what_is_left_of_their_time(shard: Shard) -> None:
    """The clock is seconds after the last frame: of two pairs one is older than a price may be."""
    worker = shard.worker()
    shard.publisher.frames(Slice("sim", 0, 1, RAW[:60], RECEIVED_US[:60]))
    shard.has_sent(60)
    btc, eth = (keys.price("sim:1", "spot", f"X:{each}USD") for each in ("BTC", "ETH"))
    shard.client.delete(btc, eth)
    newest_us = RECEIVED_US[58]  # the last of ETH is half a minute late: that before it counts
    shard.clock.step(newest_us + 4_000_000 - shard.clock.now_us())
    assert worker.round(1) is not None
    assert 0 < shard.client.pttl(btc) <= latest.PRICE_MS - 4_000  # type: ignore[operator]
    assert latest.latest(shard.client, eth) is None
    worker.close()


@pytest.mark.parametrize("is_dropped", [False, True])
def test_what_is_made_ready_is_what_closes_unless_a_drop_is_heard_of_meanwhile(
    shard: Shard, is_dropped: bool
) -> None:
    ready: list[tuple[pa.Table, ...]] = []
    made = Event()

    def beforehand(*tables: pa.Table) -> None:
        ready.append(tables)
        made.set()

    worker = shard.worker(grace_us=1_000_000, beforehand=beforehand)
    shard.send(60)
    shard.clock.step(MINUTE_US + 300_000)
    assert worker.round(1) is not None
    assert made.wait(10)
    if is_dropped:
        shard.publisher.queue.shut()
    shard.publisher.frames(Slice("sim", 0, 61, [RAW[60]], [RECEIVED_US[59]]))
    shard.publisher.queue.open()
    shard.publisher.frames(Slice("sim", 0, 62, [RAW[61]], [RECEIVED_US[61]]))
    while shard.publisher.done.frames < 62 - is_dropped:
        SystemClock().sleep(0.005)
    shard.clock.step(700_000)
    found = worker.round(1)
    assert found is not None
    assert found.bars is not None
    assert found.features is not None
    is_same = [
        one is other
        for one, other in zip(ready[0], (found.bars, found.gone, found.features), strict=True)
    ]
    assert is_same == [not is_dropped, True, not is_dropped]
    marks = {row["degraded"] for row in found.bars.to_pylist() if row["interval"] == "1m"}
    assert (True in marks) == is_dropped
    assert any(found.features["degraded"].to_pylist()) == is_dropped
    worker.close()


def test_what_a_close_leaves_for_later_is_done_once_and_before_the_next(shard: Shard) -> None:
    done: list[int] = []
    worker = shard.worker(afterwards=lambda pipe: done.append(worker.bars.closed_us))

    def close() -> None:
        shard.clock.step(MINUTE_US)
        found = worker.round(1)
        assert found is not None
        assert found.bars is not None

    close()
    for _ in range(AFTER_ROUNDS - 1):
        worker.round(1)
    assert done == []
    for _ in range(2 * AFTER_ROUNDS):
        worker.round(1)
    ends = [START_US + n * MINUTE_US for n in (1, 2, 3)]
    assert done == ends[:1]
    close()
    close()
    assert done == ends[:2]
    for _ in range(AFTER_ROUNDS):
        worker.round(1)
    assert done == ends
    worker.close()
