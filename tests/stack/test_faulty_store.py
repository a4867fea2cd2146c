"""An S3 store that errs, is slow or cuts its answers costs time, and nothing else."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from infra.servers.process import wait_until
from lake.client import connect
from lake.clock import SystemClock
from lake.errors import Unavailable
from lake.journal.reader import JournalReader
from lake.releases.release import LAST_DATASET
from lake.tables.catalog import known_table, open_catalog
from lake.tables.lake_table import holdings_of
from lake.tables.warehouse_io import REQUEST_TRIES_MAX
from lake.warehouse import Bucket, warehouse_of
from tests.path.lakehouse import Lakehouse, stream
from tests.stack.faulty_store import FAULTS, FaultyStore

CLOCK = SystemClock()
SHARE = 0.15
RETRIES = 12
"""Series of a client's tries that an outage takes up: a commit has several at once."""

LAKE_S_MAX = 180.0
BATCHES = 8


@pytest.fixture
def bucket(stack: Path) -> Bucket:
    whole = warehouse_of(stack)
    assert isinstance(whole, Bucket)
    return replace(whole, location=f"{whole.location}/market/test-{uuid.uuid4().hex}")


@pytest.fixture(params=(1, 2))
def store(bucket: Bucket, request: pytest.FixtureRequest) -> Iterator[FaultyStore]:
    with FaultyStore(bucket.endpoint, seed=request.param, share=SHARE) as proxy:
        yield proxy


def test_nothing_is_lost_or_doubled_and_it_recovers_by_itself(
    migrated_dsn: str, bucket: Bucket, store: FaultyStore, tmp_path: Path
) -> None:
    through = replace(bucket, endpoint=store.endpoint)
    house = Lakehouse(migrated_dsn, tmp_path, warehouse=through)
    house.journal(stream(0, 4))
    store.erring.set()
    mover = house.start()
    for batch in range(1, BATCHES):
        house.journal(stream(4 * batch, 4), up=False)
        CLOCK.sleep(0.5)
        assert mover.poll() is None
    assert set(FAULTS) <= set(store.done) or store.done.total() < 100, store.done
    store.erring.clear()

    assert house.drain(mover) == 0
    house.warehouse = bucket
    house.assert_whole()


def test_an_outage_longer_than_every_retry_holds_up_the_lake_alone(
    migrated_dsn: str, bucket: Bucket, tmp_path: Path
) -> None:
    """Ingest goes on into the hot tier; once the store is back, the lake catches up by itself."""
    with FaultyStore(bucket.endpoint, seed=3, share=0) as store:
        house = Lakehouse(
            migrated_dsn, tmp_path, warehouse=replace(bucket, endpoint=store.endpoint)
        )
        house.journal(stream(0, 4))
        mover = house.start()
        assert wait_until(CLOCK, lambda: lake_frame(house, bucket) == journalled(house), LAKE_S_MAX)

        store.away.set()
        held = lake_frame(house, bucket)
        house.journal(*(stream(4 * batch, 4) for batch in range(1, BATCHES)), up=False)
        assert wait_until(CLOCK, lambda: hot_frame(house) == journalled(house), LAKE_S_MAX)
        refused = RETRIES * REQUEST_TRIES_MAX
        assert wait_until(
            CLOCK, lambda: store.done.total() - store.done["answered"] >= refused, LAKE_S_MAX
        )
        house.journal(stream(4 * BATCHES, 4), up=False)
        assert wait_until(CLOCK, lambda: hot_frame(house) == journalled(house), LAKE_S_MAX)
        assert lake_frame(house, bucket) == held

        store.away.clear()
        assert wait_until(CLOCK, lambda: lake_frame(house, bucket) == journalled(house), LAKE_S_MAX)
        said, _ = mover.communicate("drain\n", timeout=LAKE_S_MAX)
    assert mover.returncode == 0
    assert json.loads(said.splitlines()[-1])["progress"]["lake_faults"] >= 1
    house.warehouse = bucket
    house.assert_whole()


def journalled(house: Lakehouse) -> int:
    """Return the journal's last durable frame."""
    with closing(JournalReader(house.journal_folder, 0)) as reader:
        return reader.durable()


def hot_frame(house: Lakehouse) -> int:
    """Return the last frame in the hot tier."""
    with psycopg.connect(house.dsn) as connection:
        row = connection.execute("SELECT last_frame FROM market.shards").fetchone()
    return int(row[0]) if row else 0


def lake_frame(house: Lakehouse, bucket: Bucket) -> int:
    """Return the last frame that the table committed last holds, past the proxy."""
    with closing(open_catalog(house.dsn, bucket)) as catalog:
        table = known_table(catalog, LAST_DATASET)
    return holdings_of(table).through.get(0, 0) if table else 0


def test_a_query_answers_rightly_or_says_that_the_store_does_not(
    migrated_dsn: str, bucket: Bucket, store: FaultyStore, tmp_path: Path
) -> None:
    house = Lakehouse(migrated_dsn, tmp_path, warehouse=bucket)
    house.journal(stream(0, 20))
    assert house.move() == 0
    store.erring.set()
    answered, said = 0, list[str]()
    for _ in range(8):
        try:
            with connect(
                dsn=migrated_dsn, warehouse=replace(bucket, endpoint=store.endpoint)
            ) as client:
                found = client.arrow(
                    "SELECT count(*) AS n, count(DISTINCT seq) AS keys FROM lake.crypto_trades"
                ).to_pylist()
            assert found == [{"n": 60, "keys": 60}]
            answered += 1
        except Unavailable as error:
            said.append(str(error))
    assert answered
    assert [line for line in said if bucket.secret_key in line] == []


def test_what_was_read_once_is_not_asked_for_again(
    migrated_dsn: str, bucket: Bucket, tmp_path: Path
) -> None:
    house = Lakehouse(migrated_dsn, tmp_path, warehouse=bucket)
    house.journal(stream(0, 20))
    assert house.move() == 0
    query = "SELECT ticker, sum(price) AS price FROM lake.crypto_trades GROUP BY ALL ORDER BY ALL"
    with FaultyStore(bucket.endpoint, seed=1, share=0) as store:
        place = replace(bucket, endpoint=store.endpoint)
        with connect(dsn=migrated_dsn, warehouse=place) as client:
            first = client.arrow(query)
            asked = store.done.total()
            assert asked
            assert client.arrow(query) == first
            assert store.done.total() == asked
            house.journal(stream(20, 20))
            assert house.move() == 0
            client.refresh()
            assert client.arrow(query) != first
            assert store.done.total() > asked
