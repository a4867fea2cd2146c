"""Effects are done while a key is ours, and none of them once it is not, however that came."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from redis import Redis
from redis.exceptions import ResponseError, TimeoutError

from serving.streams.connect import connected
from serving.streams.watch import Watch

NUMBERS = itertools.count()


@pytest.fixture
def key(client: Redis) -> str:
    """Return a key that has the value "mine"; effects go to `KEY:out`."""
    name = f"ticklake:test:watch:{next(NUMBERS)}"
    client.delete(f"{name}:out")
    client.set(name, "mine")
    return name


def lost(client: Redis, key: str) -> None:
    client.set(key, "another's")


def gone(client: Redis, key: str) -> None:
    client.delete(key)


def expired(client: Redis, key: str) -> None:
    client.pexpire(key, 1)
    while client.exists(key):
        pass


@pytest.mark.parametrize("how", [lost, gone, expired])
@pytest.mark.parametrize("is_late", [False, True])
def test_nothing_is_done_once_the_key_is_another_s(
    client: Redis, key: str, how: Callable[[Redis, str], None], is_late: bool
) -> None:
    watch = Watch(client, key, b"mine")
    if is_late:
        assert watch.begin(("PING",)) == b"PONG"
        how(client, key)
    else:
        how(client, key)
        assert watch.begin(("PING",)) == b"PONG"
    assert not watch.commit([("RPUSH", f"{key}:out", 1), ("RPUSH", f"{key}:out", 2)])
    assert client.lrange(f"{key}:out", 0, -1) == []


def test_all_is_done_while_it_is_ours_also_where_we_renewed_it_meanwhile(
    client: Redis, key: str
) -> None:
    watch = Watch(client, key, b"mine")
    for n in range(4):
        watch.begin(("GET", key))
        if n % 2:
            client.set(key, "mine", px=60_000)
            watch.moved()
        assert watch.commit([("RPUSH", f"{key}:out", n)])
    assert watch.commit([("RPUSH", f"{key}:out", 4)]), "without a read before it"
    assert client.lrange(f"{key}:out", 0, -1) == [b"0", b"1", b"2", b"3", b"4"]


def test_a_command_that_fails_is_raised_and_the_next_is_answered_as_itself(
    client: Redis, key: str
) -> None:
    watch = Watch(client, key, b"mine")
    with pytest.raises(ResponseError, match="NOGROUP"):
        watch.begin(("XREADGROUP", "GROUP", "g", "c", "STREAMS", f"{key}:none", ">"))
    with pytest.raises(ResponseError):
        watch.commit([("RPUSH", f"{key}:out", 1), ("NO SUCH",)])
    assert client.exists(f"{key}:out") == 0, "one that can't be understood undoes all"
    assert watch.begin(("PING",)) == b"PONG"
    assert watch.commit([("RPUSH", f"{key}:out", 2)])


def test_an_answer_that_is_late_is_nobody_s(valkey_url: str, client: Redis, key: str) -> None:
    hasty = connected(valkey_url, wait_s=0.05)
    watch = Watch(hasty, key, b"mine")
    with pytest.raises(TimeoutError):
        watch.begin(("BLPOP", f"{key}:none", 0.2))
    assert watch.begin(("PING",)) == b"PONG"
    assert watch.commit([("RPUSH", f"{key}:out", 1)])
    hasty.close()
