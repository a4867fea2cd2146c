"""Ports of servers: kept where they are free, and none that an outgoing connection may have."""

from __future__ import annotations

import socket

from infra.servers.ports import FIRST, HANDED_OUT, LOOPBACK, choose, is_free


def test_a_free_port_is_kept_and_a_taken_one_is_replaced() -> None:
    port = choose(None)
    assert choose(port) == port
    with socket.create_server((LOOPBACK, port)):
        assert not is_free(port)
        assert choose(port) != port


def test_a_port_is_none_that_the_system_gives_to_connections() -> None:
    first = int(HANDED_OUT.read_text().split()[0])
    assert all(FIRST <= choose(None) < first for _ in range(50))
