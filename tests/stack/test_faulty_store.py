"""An S3 store that errs, is slow or cuts its answers costs time, and nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lake.client import connect
from lake.clock import SystemClock
from lake.errors import Unavailable
from lake.warehouse import Bucket, warehouse_of
from tests.path.lakehouse import Lakehouse, stream
from tests.stack.faulty_store import FAULTS, FaultyStore

SHARE = 0.15
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
        SystemClock().sleep(0.5)
        assert mover.poll() is None
    assert set(FAULTS) <= set(store.done) or store.done.total() < 100, store.done
    store.erring.clear()

    assert house.drain(mover) == 0
    house.warehouse = bucket
    house.assert_whole()


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
