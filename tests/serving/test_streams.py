"""Frames through a real Valkey: once each, in order, whoever dies; no dead server is waited for."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from infra.servers.process import wait_until
from lake.clock import ManualClock, SystemClock
from lake.errors import Fenced
from lake.ingest.intake import Slice
from serving.live.run import last_unheard
from serving.streams import entry, keys, latest, listeners, owner
from serving.streams.breaker import FAILURES_MAX
from serving.streams.connect import ANSWER_S_MAX, connected
from serving.streams.durable_watch import WANTED_MS, DurableWatch
from serving.streams.keys import Place
from serving.streams.listeners import Ear
from serving.streams.publisher import Publisher
from serving.streams.reader import DELIVERIES_MAX, Delivered, ShardReader, opened
from serving.streams.shedding import SheddingQueue

CLOCK = SystemClock()
GROUP = "tests"
SHARDS = itertools.count(100)
WAIT_S_MAX = 60.0


@pytest.fixture
def client(valkey_url: str) -> Iterator[Redis]:
    client = connected(valkey_url, wait_s=WAIT_S_MAX)
    yield client
    client.close()


@pytest.fixture
def shard() -> int:
    return next(SHARDS)


def sent(
    url: str, shard: int, frames: list[bytes], *, epoch: int = 1, first: int = 1, durable: int = 0
) -> Publisher:
    """Publish frames, a slice each, and wait until they are there."""
    publisher = Publisher(url, shard, epoch, first, ManualClock())  # no answer is too slow for it
    for i, frame in enumerate(frames):
        publisher.frames(Slice("sim", 0, first + i, [frame], [first + i]))
    if durable:
        publisher.durable(durable)
    until(lambda: publisher.done.fenced or publisher.done.frames == len(frames))
    until(lambda: publisher.done.fenced or publisher._said_durable == publisher._durable)
    publisher.close()
    return publisher


def until(what: Callable[[], bool]) -> None:
    assert wait_until(CLOCK, what, WAIT_S_MAX)


def reader_of(client: Redis, shard: int) -> ShardReader:
    found = opened(client, GROUP, shard, CLOCK)
    assert found is not None
    return found


def frames_in(delivered: list[Delivered], shard: int) -> list[bytes]:
    return [frame for each in delivered for run in each.entry.runs(shard) for frame in run]


def all_of(reader: ShardReader) -> list[Delivered]:
    found: list[Delivered] = []
    while more := reader.take(100, 1):
        found += more
    return found


def test_what_is_offered_is_read_once_in_its_order(
    valkey_url: str, client: Redis, shard: int
) -> None:
    frames = [b"[%d]" % i for i in range(50)]
    publisher = sent(valkey_url, shard, frames, durable=50)
    assert (publisher.done.frames, publisher.done.faults) == (50, 0)
    reader = reader_of(client, shard)
    delivered = all_of(reader)
    assert frames_in(delivered, shard) == frames
    assert [each.place for each in delivered] == [Place(1, n) for n in range(1, 51)]
    reader.done(delivered)
    assert reader.take(10, 1) == []


def test_a_reader_that_dies_leaves_its_work_to_the_next_and_no_effect_comes_twice(
    valkey_url: str, client: Redis, shard: int
) -> None:
    sent(valkey_url, shard, [b"[%d]" % i for i in range(6)])
    effect = f"ticklake:test:{shard}"
    first = reader_of(client, shard)
    delivered = first.take(4, 1)
    first.done(delivered[:2], lambda pipe: pipe.rpush(effect, *frames_in(delivered[:2], shard)))
    client.persist(keys.owner(GROUP, shard))  # however long the next line takes
    assert opened(client, GROUP, shard, CLOCK) is None
    client.delete(keys.owner(GROUP, shard))  # its turn runs out: it sleeps
    second = reader_of(client, shard)
    claimed = second.take(10, 1)
    assert [each.place.frame for each in claimed] == [3, 4]
    assert second.counts.claimed == 2
    second.done(claimed, lambda pipe: pipe.rpush(effect, *frames_in(claimed, shard)))
    with pytest.raises(Fenced):  # the sleeper wakes
        first.done(delivered[2:], lambda pipe: pipe.rpush(effect, "twice"))
    rest = all_of(second)
    second.done(rest, lambda pipe: pipe.rpush(effect, *frames_in(rest, shard)))
    assert client.lrange(effect, 0, -1) == [b"[%d]" % i for i in range(6)]
    again = [each.place.frame for each in second.since(Place(1, 2), 100)]
    assert again == [3, 4, 5, 6]


def test_an_entry_that_nobody_can_work_on_is_set_aside(
    valkey_url: str, client: Redis, shard: int
) -> None:
    sent(valkey_url, shard, [b"[1]", b"[2]"])
    taken: list[list[bytes]] = []
    for _ in range(DELIVERIES_MAX + 1):
        reader = reader_of(client, shard)
        taken.append(frames_in(reader.take(1, 1), shard))
        client.delete(keys.owner(GROUP, shard))
    assert taken == [[b"[1]"]] * DELIVERIES_MAX + [[b"[2]"]]
    assert client.xlen(keys.aside(shard)) == 1


def test_sending_again_adds_nothing_and_an_older_ingest_is_refused(
    valkey_url: str, client: Redis, shard: int
) -> None:
    sent(valkey_url, shard, [b"[1]", b"[2]"])
    again = sent(valkey_url, shard, [b"[1]", b"[2]", b"[3]"])
    assert (again.done.known, client.xlen(keys.frames(shard))) == (2, 3)
    sent(valkey_url, shard, [b"[new]"], epoch=2, first=4)
    older = sent(valkey_url, shard, [b"[late]"], epoch=1, first=5)
    assert older.done.fenced
    assert older.queue.dropped["quotes"] == 1
    assert client.xlen(keys.frames(shard)) == 4


def test_a_frame_is_durable_once_it_is_said_and_void_where_its_number_went_to_another(
    valkey_url: str, client: Redis, shard: int
) -> None:
    watch = DurableWatch(client, shard)
    sent(valkey_url, shard, [b"[1]", b"[2]", b"[3]"], durable=2)
    watch.refresh()
    assert [watch.about(Place(1, n)) for n in (1, 2, 3)] == ["durable", "durable", "waiting"]
    sent(valkey_url, shard, [b"[other]"], epoch=2, first=3)
    watch.refresh()
    assert [watch.about(Place(1, n)) for n in (2, 3)] == ["durable", "void"]
    assert watch.about(Place(2, 3)) == "waiting"


def test_what_somebody_waits_for_is_told_to_the_ingest_of_its_epoch_until_it_is_durable(
    valkey_url: str, client: Redis, shard: int
) -> None:
    told: list[int] = []
    publisher = Publisher(valkey_url, shard, 1, 1, CLOCK)
    publisher.wanted = told.append
    watch, other = DurableWatch(client, shard), DurableWatch(client, shard)
    watch.want(Place(1, 2))
    watch.want(Place(1, 1))
    other.want(Place(2, 9))
    publisher.frames(Slice("massive", 0, 1, [b"[1]", b"[2]"], [1, 2]))
    until(lambda: told != [])
    assert set(told) == {2}
    assert 0 < client.pttl(keys.wanted(shard, 1)) <= WANTED_MS
    publisher.durable(2)
    until(lambda: watch.refresh() == Place(1, 2))
    client.delete(keys.wanted(shard, 1))
    watch.want(Place(1, 2))
    assert not client.exists(keys.wanted(shard, 1)), "it is durable"
    publisher.close()


def test_who_begins_reads_no_frames_that_are_void_where_an_ingest_died(
    valkey_url: str, client: Redis, shard: int
) -> None:
    sent(valkey_url, shard, [b"[1]", b"[2]", b"[3]"])
    sent(valkey_url, shard, [b"[other]"], epoch=2, first=3)
    reader = reader_of(client, shard)
    reader.done(all_of(reader))
    assert reader.begin(2) == Place(2, 2)
    assert frames_in(reader.since(reader.begin(2), 10), shard) == [b"[other]"]


def test_streams_are_bounded_and_a_reader_knows_what_it_lost(
    valkey_url: str, client: Redis, shard: int
) -> None:
    reader = reader_of(client, shard)
    publisher = Publisher(valkey_url, shard, 1, 1, ManualClock(), stream_bytes_max=10_000)
    publisher.frames(Slice("sim", 0, 1, [b"[0]"], [1]))
    until(lambda: publisher.done.frames == 1)
    delivered = reader.take(10, 100)
    for n in range(2, 102):
        publisher.frames(Slice("sim", 0, n, [b"x" * 1_000], [n]))
        until(lambda n=n: publisher.done.frames == n)  # type: ignore[misc]
    publisher.close()
    assert client.xlen(keys.frames(shard)) < 15
    delivered += all_of(reader)
    assert len(delivered) + sum(each.lost for each in delivered) == 101
    assert reader.counts.lost > 80


def test_a_dead_server_never_holds_the_reader_s_loop_up_and_its_drops_are_said_later(
    valkey_url: str, client: Redis, shard: int
) -> None:
    port = int(valkey_url.rpartition(":")[2].partition("/")[0])
    with closed_port() as (dead, listener):
        url = valkey_url.replace(f":{port}/", f":{dead}/")
        publisher = Publisher(url, shard, 1, 1, CLOCK, queue=SheddingQueue(frames_max=100))
        took_s = []
        for n in range(1, 2_001):
            start = time.monotonic()
            publisher.frames(Slice("sim", 0, n, [b'[{"ev":"XT"}]'], [n]))
            took_s.append(time.monotonic() - start)
        # who waits for the server does so as often as it fails; a busy machine holds up one or two
        assert sum(each > ANSWER_S_MAX / 5 for each in took_s) < FAILURES_MAX
        until(lambda: publisher.breaker.state == "open")
        until(lambda: publisher.queue.dropped["trades"] == 2_000)
        listener.close()
        publisher._url = valkey_url  # it is back
        until(lambda: publisher.breaker.state == "closed")
    publisher.frames(Slice("sim", 0, 2_001, [b"[]"], [2_001]))
    until(lambda: publisher.done.frames == 1)
    publisher.close()
    (delivered,) = all_of(reader_of(client, shard))
    assert delivered.entry.drops == (entry.Drop("sim", "trades", 2_000, 1, 2_000, 1, 2_000),)


class closed_port:
    """A port that takes connections and never answers."""

    def __enter__(self) -> tuple[int, socket.socket]:
        self._listener = socket.create_server(("127.0.0.1", 0))
        return self._listener.getsockname()[1], self._listener

    def __exit__(self, *_: object) -> None:
        self._listener.close()


def test_an_older_price_never_takes_a_newer_one_s_place_and_it_expires(client: Redis) -> None:
    key = keys.price("sim", "spot", "X:TEST")

    def put(time_us: int, seq: int, price: str, ms: int = latest.PRICE_MS, age_ms: int = 0) -> None:
        with client.pipeline() as pipe:
            latest.put(pipe, [latest.Value(key, time_us, seq, {"price": price}, age_ms)], ms)
            pipe.execute()

    put(1_700_000_000_000_001, 2**52 + 1, "2")
    put(1_700_000_000_000_000, 2**52 + 2, "1")
    put(1_700_000_000_000_001, 2**52, "1")
    found = latest.latest(client, key)
    assert found == {"event_time_us": 1_700_000_000_000_001, "seq": 2**52 + 1, "price": "2"}
    assert 0 < client.pttl(key) <= latest.PRICE_MS  # type: ignore[operator]
    put(1_700_000_000_000_002, 1, "3", ms=20)
    time.sleep(0.05)
    assert latest.latest(client, key) is None
    put(1_700_000_000_000_003, 1, "4", age_ms=latest.PRICE_MS)
    assert latest.latest(client, key) is None
    put(1_700_000_000_000_003, 1, "4", age_ms=latest.PRICE_MS - 1_500)
    assert 0 < client.pttl(key) <= 1_500  # type: ignore[operator]


def test_a_turn_that_ran_out_goes_on_where_nobody_took_it_meanwhile(
    client: Redis, shard: int
) -> None:
    first = owner.take(client, GROUP, shard)
    assert first is not None
    client.delete(first.key)  # it runs out: its process was too busy
    first.renew()
    client.persist(first.key)
    assert owner.take(client, GROUP, shard) is None
    client.delete(first.key)
    second = owner.take(client, GROUP, shard)
    assert second is not None
    second.leave()
    with pytest.raises(Fenced):  # nobody has it, but somebody had
        first.renew()


def test_a_turn_runs_out_and_the_next_has_a_higher_number(client: Redis, shard: int) -> None:
    first = owner.take(client, GROUP, shard)
    assert first is not None
    first.leave()
    second = owner.take(client, GROUP, shard)
    assert second is not None
    assert second.token > first.token
    with pytest.raises(Fenced):
        first.renew()
    second.renew()


@pytest.fixture
def nobody(client: Redis) -> Iterator[None]:
    """See to it that nobody listens, before and after."""
    client.delete(keys.LISTENS)
    yield
    client.delete(keys.LISTENS)


def test_frames_go_to_redis_from_when_somebody_listens_and_what_passed_by_is_told(
    valkey_url: str, client: Redis, shard: int, nobody: None
) -> None:
    publisher = Publisher(valkey_url, shard, 1, 1, CLOCK, always=False)
    for n in range(1, 101):
        publisher.frames(Slice("sim", 0, n, [b'[{"ev":"XT"}]'], [n]))
    until(lambda: publisher.queue.unheard == 100)
    assert client.xlen(keys.frames(shard)) == 0
    figures = publisher.figures()
    assert (figures["heard"], figures["unheard"], figures["closed"]) == (False, 100, True)
    assert (figures["dropped_trades"], figures["waiting"]) == (0, 0)
    assert listeners.say(client)
    assert not listeners.say(client)

    def hears() -> bool:
        listeners.say(client)  # again, as readers do
        return not publisher.queue.muted

    until(hears)
    publisher.frames(Slice("sim", 0, 101, [b"[1]"], [101]))
    publisher.durable(101)
    until(lambda: publisher.done.frames == 1)
    publisher.close()
    assert client.get(keys.whole_from(shard)) == b"101"
    (delivered,) = all_of(reader_of(client, shard))
    assert delivered.place == Place(1, 101)
    assert delivered.entry.drops == (entry.Drop("sim", "trades", 100, 1, 100, 1, 100),)
    assert last_unheard(client, shard) == 100
    client.set(keys.applied("live", shard), Place(1, 101).id)
    assert last_unheard(client, shard) == 0


def test_a_listener_that_is_there_misses_nothing_of_an_ingest_that_starts(
    valkey_url: str, client: Redis, shard: int, nobody: None
) -> None:
    listeners.say(client)
    publisher = Publisher(valkey_url, shard, 1, 1, CLOCK, always=False)
    for n in range(1, 51):
        publisher.frames(Slice("sim", 0, n, [b"[1]"], [n]))
    until(lambda: publisher.done.frames == 50)
    publisher.close()
    assert publisher.queue.unheard == 0
    assert len(all_of(reader_of(client, shard))) == 50


def test_who_falls_silent_is_missed_after_a_while_and_a_redis_that_is_away_changes_nothing(
    valkey_url: str, client: Redis, nobody: None
) -> None:
    clock = ManualClock(1_000_000)

    def after(seconds: float, ear: Ear) -> bool:
        clock.sleep(seconds)
        return ear.hears()

    ear = Ear(valkey_url, clock)
    assert not ear.hears()
    listeners.say(client)
    assert not after(listeners.LOOK_S / 2, ear)  # it does not look again so soon
    assert after(listeners.LOOK_S, ear)
    client.delete(keys.LISTENS)  # as of a Redis that was emptied
    assert after(listeners.GONE_S_MIN / 2, ear)
    assert not after(listeners.GONE_S_MIN, ear)
    ear.close()
    with closed_port() as (dead, listener):
        listener.close()
        away = Ear(f"redis://127.0.0.1:{dead}/0", clock)
        assert not after(listeners.LOOK_S, away)
        away._is_there = True
        assert after(10 * listeners.GONE_S_MIN, away)
