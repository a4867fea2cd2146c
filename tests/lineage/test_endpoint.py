"""Events reach a receiver over HTTP, in order; one that is away slows nobody and is counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from flows.jobs import BARS
from flows.lineage_to_endpoint import ANSWER_S_MAX, Endpoint, send
from infra.servers.ports import choose
from lake.clock import SystemClock
from lake.errors import BadInput
from lake.lineage.book import note
from lake.lineage.run import Teller
from tests.lineage.receiver import receiving
from tests.lineage.test_book import told


@pytest.fixture
def book(migrated_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(migrated_dsn, autocommit=True) as connection:
        yield connection


def test_events_come_once_in_order_with_their_key(
    book: psycopg.Connection, migrated_dsn: str
) -> None:
    note(book, "desk", [told(n) for n in range(5)])
    with receiving() as receiver:
        endpoint = Endpoint(receiver.url, "hunter2")
        found = send(migrated_dsn, endpoint)
        assert (found.sent, found.waiting, found.fault) == (5, 0, "")
        note(book, "desk", [told(5)])
        assert send(migrated_dsn, endpoint).sent == 6
        assert send(migrated_dsn, endpoint).sent == 6
    snapshots = [e["outputs"][0]["facets"]["version"]["datasetVersion"] for e in receiver.events]
    assert snapshots == [str(n) for n in range(6)]
    assert set(receiver.keys) == {"Bearer hunter2"}
    assert "hunter2" not in found.line()


def test_a_receiver_that_fails_gets_the_rest_when_it_is_back(
    book: psycopg.Connection, migrated_dsn: str
) -> None:
    note(book, "desk", [told(n) for n in range(4)])
    with receiving(statuses=[201, 503, 429, 201]) as receiver:
        endpoint = Endpoint(receiver.url)
        first = send(migrated_dsn, endpoint)
        assert (first.sent, first.waiting) == (1, 3)
        assert first.fault.startswith("answers 503")
        assert send(migrated_dsn, endpoint).fault.startswith("answers 429")
        last = send(migrated_dsn, endpoint)
        assert (last.sent, last.waiting, last.refused, last.fault) == (4, 0, 0, "")
    assert len(receiver.events) == 4


def test_what_a_receiver_refuses_is_counted_and_passed_by(
    book: psycopg.Connection, migrated_dsn: str
) -> None:
    note(book, "desk", [told(n) for n in range(3)])
    with receiving(statuses=[422, 201]) as receiver:
        found = send(migrated_dsn, Endpoint(receiver.url))
    assert (found.sent, found.refused, found.waiting) == (2, 1, 0)


def test_a_dead_receiver_slows_no_writer_and_older_events_are_dropped_and_counted(
    book: psycopg.Connection, migrated_dsn: str
) -> None:
    endpoint = Endpoint(f"http://127.0.0.1:{choose(None)}/api/v1/lineage")
    note(book, "desk", [told(n) for n in range(5)])
    found = send(migrated_dsn, endpoint, waiting_max=3)
    assert (found.sent, found.dropped, found.waiting) == (0, 2, 3)
    assert "does not answer" in found.fault
    note(book, "desk", [told(n) for n in range(5, 7)])
    found = send(migrated_dsn, endpoint, waiting_max=3)
    assert (found.dropped, found.waiting) == (4, 3)


def test_a_receiver_that_hangs_slows_no_run(book: psycopg.Connection, migrated_dsn: str) -> None:
    with receiving() as receiver:
        receiver.hang.clear()
        words = (migrated_dsn, Endpoint(receiver.url))
        sender = threading.Thread(target=send, args=words, daemon=True)
        note(book, "desk", [told(0)])
        sender.start()
        assert receiver.asked.wait(60)
        teller = Teller(migrated_dsn, SystemClock())
        began = time.monotonic()
        for _ in range(10):
            with teller.run(BARS):
                pass
        took_s = time.monotonic() - began
        assert receiver.events == []  # it has not answered yet, and no run has waited for that
        receiver.hang.set()
        sender.join(60)
    assert teller.dropped == 0
    assert took_s < 10 * ANSWER_S_MAX / 2  # who waits does so at the start and at the end of a run
    assert len(receiver.events) >= 1


def test_an_address_that_is_no_http_is_refused_and_a_password_in_one_is_not_shown() -> None:
    with pytest.raises(BadInput, match="TICKLAKE_LINEAGE_URL"):
        Endpoint("ftp://host/x")
    assert Endpoint("http://me:hunter2@host:5000/api").name == "http://host:5000/api"
