"""Design 3.3: whoever reads as history begins to come in bulk sees no row twice and loses none."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flows.trades_to_bars import TradesToBars
from lake.views.client import Client
from tests.path.lakehouse import NOW_MS, Lakehouse, frame, trade
from tests.path.test_bulk import COUNT, Bulk, trades

LIVE = [frame(trade(99_999, at_ms=NOW_MS))]
STEPS = (
    *("stage.file", "hot.copy", "hot.commit", "hot.committed"),
    *("lake.parquet", "lake.manifest", "lake.pointer", "lake.committed"),
)
COUNTED = "SELECT count(*), count(DISTINCT trade_id) FROM crypto_trades"


@pytest.fixture
def path(migrated_dsn: str, tmp_path: Path) -> Iterator[Bulk]:
    path = Bulk(Lakehouse(migrated_dsn, tmp_path))
    path.journal(live=[frame(trade(1_000_000))])
    path.write()
    yield path
    path.client.close()


def test_a_view_of_before_ends_with_the_frame_that_was_last_then(path: Bulk) -> None:
    """So is its book of staged files: no later row is seen without the history before it."""
    client = path.client
    client.refresh()
    before = client.frames
    path.journal(trades(1, COUNT), live=LIVE)
    assert path.write() == 2
    assert client.duckdb.execute(COUNTED).fetchone() == (1, 1)
    assert client.frames == before
    path.commit()
    assert client.duckdb.execute(COUNTED).fetchone() == (1, 1), "its lake is that of before, too"
    client.refresh()
    assert client.frames[0] > before[0]
    path.assert_once(COUNT + 2, hot=2)


def test_who_moves_marks_takes_no_frame_whose_history_it_did_not_see(path: Bulk) -> None:
    """Bars of a maker that looked before the batch came lack nothing once it looks again."""
    dsn, place = path.lakehouse.dsn, path.lakehouse.place
    with TradesToBars(dsn, place) as early, TradesToBars(dsn, place) as late:
        early.drain()
        path.journal(trades(1, COUNT), live=LIVE)
        path.write()
        late.drain()
        path.commit()
        early.drain()
        late.drain()
    with Client(dsn, place) as client:
        found = client.polars(
            "SELECT sum(trades)::bigint FROM bars WHERE \"interval\" = '1m'"
            " AND event_time < TIMESTAMPTZ '2024-01-01'"
        )
    assert found.item() == COUNT


@pytest.mark.parametrize("step", STEPS)
def test_a_mover_killed_as_history_begins_loses_and_doubles_nothing(
    migrated_dsn: str, tmp_path: Path, step: str
) -> None:
    """A process, killed at its first arrival there; what it leaves shows all of it or nothing."""
    path = Bulk(Lakehouse(migrated_dsn, tmp_path))
    path.journal(trades(1, COUNT), live=LIVE)
    assert path.lakehouse.move(f"{step}=kill") == -signal.SIGKILL
    with closing(path.client):
        seen = path.count()
        assert seen in ((0, 0), (COUNT,) * 2, (COUNT + 1,) * 2), seen
        assert path.lakehouse.verified().holds
        assert path.lakehouse.move() == 0
        path.assert_once(COUNT + 1, hot=1)
