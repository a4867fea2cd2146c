"""Issue 5, part 2: upkeep beside running ingest keeps releases, rows and the account of files."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from flows.small_files_to_large import FLOW_DATASETS, KEPT_DATASETS, keep
from flows.trades_to_bars import TradesToBars
from lake.clock import SystemClock
from lake.contracts.contract import load
from lake.errors import Unavailable
from lake.hot.turn import turn
from lake.ingest.lake_files import RemovalBook
from lake.releases.release import create, parts_of
from lake.steps import Steps
from lake.tables.account import unaccounted
from lake.tables.catalog import open_catalog
from lake.tables.names import NAMESPACE
from lake.tables.upkeep import LIMITS, Upkeep
from lake.views.client import Client
from tests.path.lakehouse import MOVE_S_MAX, Lakehouse, stream

CLOCK = SystemClock()
CYCLES = 24
FRAMES_PER_CYCLE = 8
BUSY_DATASETS = ("crypto_trades", "ingest_batches", "bars")
RELEASE = "pinned"


@pytest.fixture
def lakehouse(migrated_dsn: str, tmp_path: Path) -> Lakehouse:
    return Lakehouse(migrated_dsn, tmp_path)


def hash_of(lakehouse: Lakehouse, dataset: str) -> str:
    """Return a digest of every row of a dataset in the release."""
    with Client(lakehouse.dsn, lakehouse.place, release=RELEASE) as client:
        rows = client.arrow(f"FROM {dataset} ORDER BY ALL").to_pylist()
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def hashes(lakehouse: Lakehouse) -> dict[str, str]:
    with psycopg.connect(lakehouse.dsn) as connection:
        datasets = [part.dataset for part in parts_of(connection, RELEASE)]
    return {dataset: hash_of(lakehouse, dataset) for dataset in datasets}


def make_bars(lakehouse: Lakehouse) -> None:
    with TradesToBars(lakehouse.dsn, lakehouse.place) as maker:
        maker.drain()


def cycle(
    lakehouse: Lakehouse,
    datasets: Sequence[str] = KEPT_DATASETS,
    grace_s: float = 0.5,
    sweep_age_s: float | None = None,
) -> int:
    """Keep these tables once; return the files merged."""
    kept = [
        keep(
            lakehouse.dsn,
            lakehouse.place,
            CLOCK,
            dataset,
            grace_s=grace_s,
            sweep_age_s=sweep_age_s,
        )
        for dataset in datasets
    ]
    return sum(each.files_merged for each in kept)


def snapshot_of(lakehouse: Lakehouse, dataset: str) -> int | None:
    with closing(open_catalog(lakehouse.dsn, lakehouse.place)) as catalog:
        found = catalog.load_table((NAMESPACE, dataset)).current_snapshot()
    return None if found is None else found.snapshot_id


def journal_and_wait(lakehouse: Lakehouse, frames: list[bytes]) -> None:
    """Make frames durable and wait until the mover has put some of them into the lake."""
    before = snapshot_of(lakehouse, "crypto_trades")
    lakehouse.journal(frames)
    ends = time.monotonic() + MOVE_S_MAX
    while snapshot_of(lakehouse, "crypto_trades") == before:
        assert time.monotonic() < ends, "the mover put nothing into the lake"
        time.sleep(0.02)


def files_unaccounted(lakehouse: Lakehouse) -> list[str]:
    found: list[str] = []
    with (
        psycopg.connect(lakehouse.dsn, autocommit=True) as connection,
        closing(open_catalog(lakehouse.dsn, lakehouse.place)) as catalog,
    ):
        book = RemovalBook(connection)
        for dataset in KEPT_DATASETS:
            if catalog.table_exists((NAMESPACE, dataset)):
                table = catalog.load_table((NAMESPACE, dataset))
                found += unaccounted(table, book.waiting(dataset))
    return found


def test_cycles_beside_ingest_keep_a_release_every_row_and_no_file_too_many(
    lakehouse: Lakehouse,
) -> None:
    lakehouse.journal(stream(0, FRAMES_PER_CYCLE))
    assert lakehouse.move() == 0
    make_bars(lakehouse)
    create(lakehouse.dsn, lakehouse.place, RELEASE, CLOCK)
    before = hashes(lakehouse)
    assert {"crypto_trades", "bars", "ledger_minutes"} <= before.keys()
    mover = lakehouse.start()
    merged = 0
    try:
        for number in range(1, CYCLES + 1):
            journal_and_wait(lakehouse, stream(number * FRAMES_PER_CYCLE, FRAMES_PER_CYCLE))
            merged += cycle(lakehouse, BUSY_DATASETS)
            if number % 8 == 0:
                make_bars(lakehouse)
    finally:
        assert lakehouse.drain(mover) == 0
    assert merged > 0
    cycle(lakehouse, grace_s=0, sweep_age_s=0)
    assert files_unaccounted(lakehouse) == []
    assert hashes(lakehouse) == before
    lakehouse.assert_whole()


def test_upkeep_of_bars_holds_up_its_makers_for_a_commit_only(lakehouse: Lakehouse) -> None:
    lakehouse.journal(stream(0, FRAMES_PER_CYCLE))
    assert lakehouse.move() == 0
    make_bars(lakehouse)
    dataset = FLOW_DATASETS[0]
    with (
        turn(lakehouse.dsn, dataset),
        pytest.raises(Unavailable, match="another run is at work"),
    ):
        keep(lakehouse.dsn, lakehouse.place, CLOCK, dataset, wait_s=0.1)
    with (
        turn(lakehouse.dsn, f"upkeep-{dataset}"),
        pytest.raises(Unavailable, match="another run is at work"),
    ):
        keep(lakehouse.dsn, lakehouse.place, CLOCK, dataset, wait_s=0.1)
    assert keep(lakehouse.dsn, lakehouse.place, CLOCK, dataset).dataset == dataset


class AsOthers(Steps):
    """Lets somebody else go first where snapshots are about to be expired."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self._act = act

    def at(self, name: str) -> None:
        if name == "upkeep.expire":
            self._act()


def test_who_expires_after_others_did_is_told_to_try_again(lakehouse: Lakehouse) -> None:
    """A mover and a flow keep a table at once; an ingest once ended by it."""
    for number in range(3):
        lakehouse.journal(stream(number * FRAMES_PER_CYCLE, FRAMES_PER_CYCLE))
        assert lakehouse.move() == 0
    few = replace(LIMITS, snapshots_max=1, snapshots_kept=1)
    freed: list[str] = []
    with closing(open_catalog(lakehouse.dsn, lakehouse.place)) as catalog:
        sort = load("crypto_trades").sort
        made = [
            Upkeep(
                catalog,
                "crypto_trades",
                sort,
                epoch=1,
                commit_lock=threading.Lock(),
                steps=steps,
                limits=few,
            )
            for steps in (None, AsOthers(lambda: freed.extend(made[0].expire())))
        ]
        with pytest.raises(Unavailable, match="others expired snapshots meanwhile"):
            made[1].expire()
        assert made[1].expire() == []
        assert made[0].remove(freed) == len(freed) > 0
    lakehouse.assert_whole()
