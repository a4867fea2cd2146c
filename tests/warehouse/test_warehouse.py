"""One suite of promises over every place where the lake's files may lie: a folder, a bucket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from lake import state
from lake.client import Client, connect
from lake.errors import BadInput, TicklakeError, Unavailable
from lake.hot.lease import COMMITTER, take
from lake.tables.catalog import open_catalog
from lake.tables.lake_table import LakeTable
from lake.tables.upkeep import Upkeep, UpkeepLimits
from lake.tables.warehouse_io import WarehouseIO, ready
from lake.warehouse import Bucket, Folder, Warehouse, warehouse_at, warehouse_of
from tests.path.lakehouse import Lakehouse as PathLakehouse
from tests.path.lakehouse import stream
from tests.verify.lakehouse import Lakehouse, faults

FUTURE_US = 1 << 60
DATASET = "crypto_trades"
SECRET = "not-for-any-log"
NOWHERE = Bucket("s3://lake/warehouse", "http://127.0.0.1:1", "us-east-1", "reader", SECRET)


@pytest.fixture
def lakehouse(migrated_dsn: str, warehouse: Warehouse) -> Iterator[Lakehouse]:
    house = Lakehouse(migrated_dsn, warehouse)
    yield house
    house.close()


@pytest.fixture
def client(lakehouse: Lakehouse) -> Iterator[Client]:
    with connect(dsn=lakehouse.dsn, warehouse=lakehouse.place) as found:
        yield found


def count(client: Client, view: str) -> int:
    return int(client.arrow(f"SELECT count(*) AS n FROM {view}")["n"][0].as_py())


def files(lakehouse: Lakehouse) -> list[str]:
    io = lakehouse.table().io
    assert isinstance(io, WarehouseIO)
    return sorted(each.location for each in io.listed(lakehouse.table().location()))


def write(lakehouse: Lakehouse, location: str, content: bytes) -> None:
    with lakehouse.table().io.new_output(location).create(overwrite=True) as sink:
        sink.write(content)


def test_it_says_where_it_lies_and_another_process_finds_it(warehouse: Warehouse) -> None:
    found = warehouse_at(warehouse.order())
    assert found.location == warehouse.location
    assert found.iceberg_properties() == warehouse.iceberg_properties()
    assert warehouse.location.startswith(("file:///", "s3://"))
    ready(warehouse)


def test_rows_are_seen_once_before_and_after_each_commit(
    lakehouse: Lakehouse, client: Client
) -> None:
    lakehouse.write()
    assert count(client, DATASET) == 30
    lakehouse.commit()
    assert (count(client, DATASET), count(client, f"lake.{DATASET}")) == (30, 30)
    lakehouse.write(shard=1)
    assert (count(client, DATASET), count(client, f"lake.{DATASET}")) == (60, 30)
    hot = client.arrow(f"FROM hot.{DATASET} WHERE shard = 0 ORDER BY seq")
    assert client.arrow(f"FROM lake.{DATASET} ORDER BY seq") == hot


def test_every_file_is_listed_with_a_stamp_that_changes_with_it(lakehouse: Lakehouse) -> None:
    lakehouse.write()
    lakehouse.commit()
    io = lakehouse.table().io
    assert isinstance(io, WarehouseIO)
    below = lakehouse.table().location()
    before = {each.location: each for each in io.listed(below)}
    kinds = {place.rpartition(".")[2] for place in before}
    assert kinds == {"parquet", "avro", "json"}

    place = next(place for place in before if place.endswith(".parquet"))
    write(lakehouse, place, b"shorter")

    after = {each.location: each for each in io.listed(below)}
    assert {p for p in after if after[p].stamp != before[p].stamp} == {place}
    assert after[place].bytes == 7
    assert list(io.listed(f"{below}/nowhere")) == []


def test_verify_reads_a_file_once_and_finds_what_became_of_it(lakehouse: Lakehouse) -> None:
    lakehouse.write()
    lakehouse.commit()
    first = lakehouse.verify()
    assert first.holds
    assert lakehouse.verify().rows_read < first.rows_read
    table = lakehouse.table()
    (path,) = [task.file.file_path for task in table.scan().plan_files()]
    content = table.io.new_input(path).open().read()

    write(lakehouse, path, b"PAR1 was here")
    assert any("unreadable" in fault for fault in faults(lakehouse.verify(), "lake"))

    table.io.delete(path)
    assert any("file missing: 30 rows" in fault for fault in faults(lakehouse.verify(), "lake"))

    write(lakehouse, path, content)
    assert lakehouse.verify().holds


def test_metadata_that_is_gone_is_damage_in_one_sentence(
    lakehouse: Lakehouse, client: Client
) -> None:
    lakehouse.write()
    lakehouse.commit()
    lakehouse.table().io.delete(lakehouse.table().metadata_location)
    with pytest.raises(TicklakeError, match="restore the file"):
        client.refresh()


def test_upkeep_merges_expires_and_removes_and_every_row_stays(
    lakehouse: Lakehouse, client: Client
) -> None:
    with psycopg.connect(lakehouse.dsn, autocommit=True) as connection:
        lease = take(connection, COMMITTER)
    assert lease is not None
    limits = UpkeepLimits(merge_factor=4, snapshots_max=4, snapshots_kept=2)
    with closing(open_catalog(lakehouse.dsn, lakehouse.place, epoch=lease.epoch)) as catalog:
        table = LakeTable(catalog, DATASET, epoch=lease.epoch)
        upkeep = Upkeep(
            catalog,
            DATASET,
            ["ticker", "event_time", "seq"],
            epoch=lease.epoch,
            commit_lock=threading.Lock(),
            limits=limits,
        )
        for _ in range(4):
            lakehouse.write()
            rows = client.arrow(
                f"FROM hot.{DATASET} WHERE seq >= {(lakehouse.frames[0] - 9) << 16} ORDER BY seq"
            )
            table.refresh()
            table.append(rows, dict(lakehouse.frames))
        merged = upkeep.merge()
        assert merged is not None
        assert (merged.files_before, merged.files_after, merged.rows) == (4, 1, 120)
        freed = upkeep.expire()
        assert freed
        # What was merged stays as long as the snapshot before the merge does.
        assert upkeep.remove([*freed, *merged.freed]) == len(freed)
        left = f"{table.table.location()}/data/left.parquet"
        write(lakehouse, left, b"half a file")
        assert left in upkeep.orphans(FUTURE_US)
        assert upkeep.orphans(0) == []
        assert upkeep.remove(upkeep.orphans(FUTURE_US)) == 1
    assert left not in files(lakehouse)
    assert count(client, f"lake.{DATASET}") == count(client, DATASET) == 120


def test_a_mover_takes_a_journal_there_whole(
    migrated_dsn: str, warehouse: Warehouse, tmp_path: Path
) -> None:
    house = PathLakehouse(migrated_dsn, tmp_path, warehouse=warehouse)
    house.journal(stream(0, 20), stream(20, 20))
    assert house.move() == 0
    house.assert_whole()


def test_a_home_says_where_its_warehouse_lies(tmp_path: Path) -> None:
    assert warehouse_of(tmp_path) == Folder(tmp_path / "warehouse")
    store = {"endpoint": "http://127.0.0.1:9", "region": "r", "access_key": "a", "secret_key": "b"}
    state.write_state(
        tmp_path, {"s3": {**store, "bucket": "lake"}, "warehouse": {"location": "s3://lake/w"}}
    )
    assert warehouse_of(tmp_path) == Bucket("s3://lake/w", "http://127.0.0.1:9", "r", "a", "b")


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ({"location": "s3://lake/w"}, "its store has no endpoint"),
        ({"location": "gs://lake/w"}, "neither a folder nor s3://"),
    ],
)
def test_a_place_that_is_none_is_refused(place: dict[str, str], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        warehouse_at(place)


def test_a_bucket_that_is_not_there_is_said_with_the_remedy(warehouse: Warehouse) -> None:
    if isinstance(warehouse, Folder):
        pytest.skip("a folder is made where there is none")
    with pytest.raises(BadInput, match=r"bucket nowhere .* is not there: make it: ticklake up"):
        ready(replace(warehouse, location="s3://nowhere/warehouse"))
    with pytest.raises(BadInput, match="the store refuses our keys"):
        ready(replace(warehouse, secret_key=SECRET))


def test_a_store_that_is_away_is_said_and_no_key_is(migrated_dsn: str) -> None:
    said = [repr(NOWHERE), NOWHERE.words]
    with pytest.raises(Unavailable, match="the store does not answer") as refused:
        ready(NOWHERE)
    said.append(str(refused.value))
    with psycopg.connect(migrated_dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO public.iceberg_tables VALUES ('ticklake', 'market', 'crypto_trades',"
            " 's3://lake/warehouse/market/crypto_trades/metadata/1.metadata.json', NULL, 'TABLE')"
        )
    with pytest.raises(Unavailable, match="store does not answer") as unread:
        connect(dsn=migrated_dsn, warehouse=NOWHERE)
    said.append(str(unread.value))
    with closing(open_catalog(migrated_dsn, NOWHERE)) as catalog:
        with pytest.raises(Unavailable) as uncommitted:
            LakeTable(catalog, DATASET, epoch=0)
        said.append(str(uncommitted.value))
    assert [text for text in said if SECRET in text] == []


def test_the_keys_are_not_to_be_had_from_the_query_engine(migrated_dsn: str) -> None:
    with Client(migrated_dsn, NOWHERE) as client:
        shown = client.arrow("FROM duckdb_secrets()").to_pylist()
        assert SECRET not in str(shown)
