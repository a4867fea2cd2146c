"""Which connection's keyless events are taken, and that a session starts with none."""

from __future__ import annotations

from lake.ingest.control import HISTORY_CONNECTION, Started, Up
from tests.ingest.shard import NOW_US, Shard, gap
from tests.path.lakehouse import frame, quote, trade


def test_the_connection_that_is_up_longest_speaks_until_it_ends() -> None:
    shard = Shard()
    shard.notes(Started(NOW_US), Up(1, NOW_US))
    shard.quotes(1.0, 1)
    shard.notes(Up(0, NOW_US))
    shard.quotes(2.0, 0, 1)
    shard.quotes(3.0, 1, 0)
    shard.notes(gap(1))
    shard.quotes(4.0, 0)
    shard.notes(Up(1, NOW_US))
    shard.quotes(5.0, 1, 0)
    assert shard.taken == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_connection_of_an_earlier_session_speaks_no_more() -> None:
    shard = Shard()
    shard.notes(Started(NOW_US), Up(1, NOW_US), Up(0, NOW_US))
    shard.notes(Started(NOW_US), Up(0, NOW_US))
    shard.quotes(1.0, 0)
    assert shard.taken == [1.0]


def test_history_brings_trades_once_and_no_quotes() -> None:
    shard = Shard()
    shard.notes(Started(NOW_US), Up(0, NOW_US))
    event = frame(trade(1), quote(1.0))
    assert shard.hears(event, 0)["crypto_trades"] == 1
    again = shard.hears(frame(trade(1), trade(2), quote(1.0)), HISTORY_CONNECTION)
    assert again["crypto_trades"] == 1
    assert shard.taken == [1.0]


def test_who_speaks_is_part_of_what_a_restart_knows() -> None:
    shard = Shard()
    shard.notes(Started(NOW_US), Up(1, NOW_US), Up(0, NOW_US))
    assert shard.builder.state()["up"] == {"sim": [1, 0]}
