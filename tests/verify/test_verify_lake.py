"""`verify` finds rows, files and tables of the lake that are not as they were written."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.contracts.contract import load
from tests.verify.lakehouse import Lakehouse, arrow, faults, trade

PROVEN = pytest.mark.parametrize("proven", [False, True], ids=["first_run", "after_a_proof"])


@PROVEN
def test_row_deleted_in_the_lake_is_named(written: Lakehouse, proven: bool) -> None:
    if proven:
        assert written.verify().holds
    written.table().delete(f"shard = 0 and seq = {3 << 16 | 1}")

    report = written.verify()

    assert (report.lost, report.duplicated) == (1, 0)
    (fault,) = faults(report, "lake")
    assert "X:ETHUSD 2024-08-08T12:00Z: 1 of 20 rows lost (missing shard 0 seq 196609)" in fault


@PROVEN
def test_row_added_in_the_lake_is_named(written: Lakehouse, proven: bool) -> None:
    if proven:
        assert written.verify().holds
    table = written.table()
    table.append(arrow("crypto_trades", [trade(3, 9)]).cast(table.schema().as_arrow()))

    report = written.verify()

    assert (report.lost, report.duplicated) == (0, 1)
    assert f"added shard 0 seq {3 << 16 | 9}" in faults(report, "lake")[0]


def test_any_column_changed_in_the_lake_is_found(written: Lakehouse) -> None:
    assert written.verify().holds
    table = written.table()
    whole = table.scan().to_arrow()
    other = trade(7, 5, shard=1) | {
        "ticker": "X:SOLUSD",
        "exchange": "sim:2",
        "market": "usdm",
        "size": Decimal("0.2500000001"),
        "conditions": "~",
    }
    for column in load("crypto_trades").names:
        rows = whole.to_pylist()
        assert rows[4][column] != other[column]
        rows[4][column] = other[column]
        table.overwrite(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()))
        assert faults(written.verify(), "lake"), column
    table.overwrite(whole)
    assert written.verify().holds


@PROVEN
def test_file_removed_from_the_warehouse_is_named(written: Lakehouse, proven: bool) -> None:
    if proven:
        assert written.verify().holds
    (path,) = data_files(written)
    path.unlink()

    report = written.verify()

    assert report.lost == 60
    assert f"lake crypto_trades: file missing: 60 rows: {path}" in faults(report, "lake")


@PROVEN
def test_file_rewritten_in_place_is_found(written: Lakehouse, proven: bool) -> None:
    if proven:
        assert written.verify().holds
    (path,) = data_files(written)
    table = pq.read_table(path, partitioning=None)
    swapped = table.set_column(6, table.schema.field(6), table["price"].take([1, 0, *range(2, 60)]))
    pq.write_table(swapped, path)

    found = faults(written.verify(), "lake")

    assert any("rows, of which some are not as they were written" in fault for fault in found)
    assert not proven or f"lake crypto_trades: file rewritten in place: {path}" in found


def test_file_that_is_no_parquet_any_more_is_named(written: Lakehouse) -> None:
    (path,) = data_files(written)
    path.write_bytes(b"PAR1 was here")

    assert any(
        str(fault).startswith("lake crypto_trades: file unreadable") and str(path) in str(fault)
        for fault in written.verify().faults
    )


def test_rollback_by_others_that_hides_nothing_holds(written: Lakehouse) -> None:
    roll_back(written)

    assert written.verify().holds
    assert written.verify(full=True).holds


@PROVEN
def test_rollback_by_others_of_rows_that_left_hot_is_a_loss(
    written: Lakehouse, proven: bool
) -> None:
    written.commit()
    written.sql(
        "INSERT INTO market.dropped_partitions (dataset, day, rows, digest) "
        "SELECT dataset, '2024-08-08', sum(rows), sum(digest) FROM market.ledger_minutes "
        "WHERE dataset = 'crypto_trades' GROUP BY 1"
    )
    written.sql("DROP TABLE market.crypto_trades_p20240808")
    assert not proven or written.verify().holds
    roll_back(written)

    report = written.verify()

    assert report.lost == 30
    assert "30 of 90 rows lost: day 2024-08-08, which was dropped" in faults(report, "lake")[0]


def roll_back(house: Lakehouse) -> None:
    """Take the trades back to their first commit, as another engine may."""
    first = house.table().snapshots()[0].snapshot_id
    house.commit()
    table = house.table()
    with table.transaction() as change:
        change.set_properties({"ticklake.snapshot": str(table.metadata.current_snapshot_id)})
    house.table().manage_snapshots().rollback_to_snapshot(first).commit()


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("proven", [False, True])
def test_table_dropped_from_the_catalog_is_named(
    written: Lakehouse, proven: bool, full: bool
) -> None:
    if proven:
        assert written.verify().holds
    through = written.table().properties
    for shard in (0, 1):  # what a committer notes before each commit
        written.sql(
            "INSERT INTO market.lake_marks (dataset, snapshot_id, through)"
            " VALUES ('crypto_trades', %s, jsonb_build_object(%s::text, %s::bigint))",
            *(shard + 1, shard, through[f"ticklake.through.{shard}"]),
        )
    written.catalog.drop_table("market.crypto_trades")

    assert faults(written.verify(full=full), "lake") == [
        "lake crypto_trades: table missing: 60 rows lost: catalog:"
        " put its row of iceberg_tables back, or: ticklake restore --to TIME"
    ]


def test_table_that_never_held_a_frame_is_not_missed(lakehouse: Lakehouse) -> None:
    lakehouse.write()
    lakehouse.catalog.drop_table("market.crypto_trades")

    assert lakehouse.verify().holds


def test_file_of_metadata_that_is_gone_is_said_with_the_remedy(written: Lakehouse) -> None:
    table = written.table()
    snapshot = table.current_snapshot()
    assert snapshot is not None
    for place in (snapshot.manifest_list, table.metadata_location):
        Path(place.removeprefix("file://")).unlink()

        (fault,) = faults(written.verify(), "lake")

        assert f"{Path(place).name} is gone: " in fault
        assert fault.endswith(": restore the file")


def data_files(house: Lakehouse) -> list[Path]:
    return [
        Path(task.file.file_path.removeprefix("file://"))
        for task in house.table().scan().plan_files()
    ]
