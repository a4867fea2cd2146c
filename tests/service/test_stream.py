"""Issue 7, part 8: what a client hears over the WebSocket, and when it is cut."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.sync.client import ClientConnection
from websockets.uri import parse_uri

from lake.clock import ManualClock
from serving.service.board import Item
from serving.service.counts import Counts
from serving.service.hub import BATCHES_MAX, Batch, Client, Hub
from serving.service.limits import Limits
from tests.service.serving import WAIT_S_MAX, Served, served, until

EVENTS = {"action": "subscribe", "tickers": [], "topics": ["kill", "orders"]}


@pytest.fixture(scope="module")
def service(
    valkey_url: str, ledger_dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    limits = Limits(clients_of_one_max=4)
    with served(
        valkey_url, tmp_path_factory.mktemp("stream"), limits=limits, dsn=ledger_dsn
    ) as found:
        yield found


def say(stream: ClientConnection, said: Any) -> None:
    stream.send(orjson.dumps(said).decode())


def hear(stream: ClientConnection, kind: str) -> dict[str, Any]:
    while True:
        found = orjson.loads(stream.recv(timeout=WAIT_S_MAX))
        if found["type"] == kind:
            return dict(found)


def test_a_client_hears_of_its_tickers_and_no_others(service: Served) -> None:
    with service.stream() as stream:
        assert hear(stream, "ready")["name"] == "without a key"
        say(stream, {"action": "subscribe", "tickers": ["A"]})
        assert hear(stream, "subscribed")["tickers"] == ["A"]
        service.tell(("A", "1"), ("B", "2"))
        (row,) = hear(stream, "update")["prices"]
        assert (row["ticker"], row["price"], row["bid_price"]) == ("A", "1", "0.50")
        say(stream, {"action": "subscribe", "tickers": "*"})
        assert hear(stream, "subscribed")["tickers"] == "*"
        found = hear(stream, "update")["prices"]
        assert {row["ticker"] for row in found} >= {"A", "B"}  # what was known before


def test_what_clients_hear_of_is_counted(service: Served) -> None:
    service.tell(("A", "1"), ("B", "2"))
    assert until(lambda: len(service.parts.board) >= 2 and not len(service.parts.hub))

    def counted() -> float:
        (line,) = (
            each
            for each in service.parts.counts.text().decode().splitlines()
            if each.startswith("ticklake_service_subscriptions ")
        )
        return float(line.split()[1])

    with service.stream() as some, service.stream() as all_:
        for stream, tickers in ((some, ["A", "B", "NONE"]), (all_, "*")):
            hear(stream, "ready")
            say(stream, {"action": "subscribe", "tickers": tickers})
            hear(stream, "subscribed")
        assert counted() == 3 + len(service.parts.board)
    assert until(lambda: counted() == 0)


def test_a_client_hears_of_orders_and_the_switch(service: Served) -> None:
    with service.stream() as stream, service.http("admin") as http:
        hear(stream, "ready")
        say(stream, EVENTS)
        assert not hear(stream, "update")["kill"]["killed"]
        http.post("/v1/kill", json={"reason": "heard"})
        while not (word := hear(stream, "update").get("kill")):
            pass
        assert (word["killed"], word["reason"]) == (True, "heard")
        http.post("/v1/resume", json={"at_us": word["at_us"]})


@pytest.mark.parametrize(
    "said",
    [
        b"{",
        b"[]",
        b'{"action":"fly"}',
        b'{"action":"subscribe","tickers":7}',
        b'{"action":"subscribe","tickers":["\\u0000"]}',
        b'{"action":"subscribe","topics":["secrets"]}',
        orjson.dumps({"action": "subscribe", "tickers": ["A"] * 1_000}),
    ],
)
def test_what_makes_no_sense_is_answered_and_five_times_is_enough(
    service: Served, said: bytes
) -> None:
    with service.stream() as stream:
        hear(stream, "ready")
        for _ in range(5):
            stream.send(said.decode())
            assert hear(stream, "error")["fault"]
        with pytest.raises(ConnectionClosed) as closed:
            stream.recv(timeout=WAIT_S_MAX)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4400


def test_a_page_of_elsewhere_is_refused_and_so_is_a_key_that_is_none(service: Served) -> None:
    for origin in ("https://evil.example", "http://["):
        with pytest.raises(InvalidStatus, match="403"):
            service.stream(additional_headers={"Origin": origin})
    headers = {"Authorization": "Bearer tlk_no_key"}
    with service.stream(additional_headers=headers) as stream:
        with pytest.raises(ConnectionClosed) as closed:
            stream.recv(timeout=WAIT_S_MAX)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4001


def test_one_caller_has_so_many_connections(service: Served) -> None:
    assert until(lambda: not len(service.parts.hub))  # those of before have left
    streams = [service.stream() for _ in range(5)]
    for stream in streams[:4]:
        hear(stream, "ready")
    with pytest.raises(ConnectionClosed) as closed:
        streams[4].recv(timeout=WAIT_S_MAX)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4029
    for stream in streams:
        stream.close()


def test_where_reads_are_closed_the_first_message_is_the_key(
    valkey_url: str, tmp_path: Path
) -> None:
    with served(valkey_url, tmp_path, limits=Limits(open_reads=False)) as service:
        for words, is_let in ((service.words["read"], True), ("tlk_a_b", False)):
            with service.stream() as stream:
                say(stream, {"action": "auth", "key": words})
                if is_let:
                    assert hear(stream, "ready")["name"] == "a reader"
                    continue
                with pytest.raises(ConnectionClosed):
                    stream.recv(timeout=WAIT_S_MAX)


def test_a_key_that_is_revoked_ends_its_streams_and_no_others(service: Served) -> None:
    made, words = service.parts.keys.add("for a moment", "read")
    given = {"Authorization": f"Bearer {words}"}
    with service.stream() as other, service.stream(additional_headers=given) as stream:
        assert hear(stream, "ready")["name"] == "for a moment"
        service.parts.keys.revoke(made.id)
        with pytest.raises(ConnectionClosed) as closed:
            stream.recv(timeout=WAIT_S_MAX)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "its key is revoked")
        say(other, {"action": "ping", "id": 1})
        hear(other, "pong")


def test_a_client_that_takes_nothing_is_cut_and_others_hear_on(service: Served) -> None:
    with service.stream(max_queue=1, compression=None) as slow, service.stream() as quick:
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        for stream in (slow, quick):
            hear(stream, "ready")
            say(stream, {"action": "subscribe", "tickers": "*"})
        before = service.parts.counts.cut._value.get()
        many = [f"T{n}" for n in range(1_000)]
        for n in itertools.count():
            service.tell(*((ticker, str(n)) for ticker in many))
            hear(quick, "update")
            if service.parts.counts.cut._value.get() > before:
                break
            assert n < 2_000
        with pytest.raises((ConnectionClosed, OSError)):
            _ = [slow.recv(timeout=WAIT_S_MAX) for _ in itertools.count()]


def item(key: str, value: int, kind: str = "prices") -> Item:
    return Item(kind, key, key, str(value).encode())


def test_what_waits_for_a_slow_client_is_the_newest_of_each_and_no_more() -> None:
    hub = Hub(ManualClock(), Counts())
    client, other = Client(ManualClock()), Client(ManualClock())
    for each in (client, other):
        hub.join(each)
        hub.subscribe(each, frozenset({"A", "B"}), frozenset())
    for n in range(100):
        hub.put([item("A", n), item("B", n), item("C", n)])
        hub.hand_out()
    assert client.waiting <= 2 * (BATCHES_MAX + 1)
    last = [each.next_batch() for each in (client, other)]
    assert [each and each.message() for each in last] == [b'{"type":"update","prices":[99,99]}'] * 2
    assert client.next_batch() is None
    hub.leave(client)
    hub.leave(other)
    assert len(hub) == 0


def test_a_bar_that_went_is_not_there_as_well() -> None:
    batch = Batch([item("x", 1, "bars")]).merge(Batch([item("x", 1, "gone")]))
    assert batch.message() == b'{"type":"update","gone":[1]}'


def test_clients_of_the_same_tickers_share_their_bytes() -> None:
    hub = Hub(ManualClock(), Counts())
    clients = [Client(ManualClock()) for _ in range(3)]
    for each in clients:
        hub.join(each)
        hub.subscribe(each, None, frozenset())
    hub.put([item("A", 1)])
    hub.hand_out()
    one, two, three = (each.next_batch() for each in clients)
    assert one is two is three
    assert one is not None


@pytest.mark.parametrize("size", [0, 40, 125, 126, 65_535, 65_536, 200_000])
def test_a_frame_is_what_a_client_reads(size: int) -> None:
    batch = Batch([Item("prices", "A", "A", b'"' + b"x" * size + b'"')])
    peer = ClientProtocol(parse_uri("ws://here/"), state=OPEN, max_size=None)
    peer.receive_data(batch.frame())
    (event,) = peer.events_received()
    assert isinstance(event, Frame)
    assert (event.opcode, event.fin, bytes(event.data)) == (Opcode.TEXT, True, batch.message())
