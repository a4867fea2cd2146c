"""The union view shows each row once, whatever the lake holds, and asks PostgreSQL for little."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lake.client import Client, connect
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.errors import Unavailable, WrongUse
from lake.feeds import codec
from lake.views import union_view
from lake.views.union_view import UNION_DATASETS
from tests.verify.lakehouse import Lakehouse


@pytest.fixture
def lakehouse(migrated_dsn: str, tmp_path: Path) -> Iterator[Lakehouse]:
    house = Lakehouse(migrated_dsn, tmp_path / "a warehouse")
    yield house
    house.close()


@pytest.fixture
def client(lakehouse: Lakehouse) -> Iterator[Client]:
    with connect(dsn=lakehouse.dsn) as found:
        yield found


def counts(client: Client) -> tuple[int, int, int]:
    row = client.arrow(
        "SELECT (SELECT count(*) FROM crypto_trades) AS whole, "
        "(SELECT count(*) FROM lake.crypto_trades) AS lake, "
        "(SELECT count(*) FROM hot.crypto_trades) AS hot"
    ).to_pylist()[0]
    return row["whole"], row["lake"], row["hot"]


@pytest.mark.parametrize("dataset", UNION_DATASETS)
def test_empty_lakehouse_has_every_view_typed_as_its_contract(client: Client, dataset: str) -> None:
    contract = arrow_schema(load(dataset))

    for place in ("", "hot.", "lake."):
        schema = client.arrow(f"FROM {place}{dataset}").schema
        assert [(f.name, f.type) for f in schema] == [(f.name, f.type) for f in contract], place


def test_rows_are_seen_once_before_and_after_each_lake_commit(
    lakehouse: Lakehouse, client: Client
) -> None:
    lakehouse.write()
    assert counts(client) == (30, 0, 30)

    lakehouse.commit()
    assert counts(client) == (30, 30, 30)

    lakehouse.write()
    lakehouse.write(shard=1)
    assert counts(client) == (90, 30, 90)

    lakehouse.commit()
    lakehouse.write(frames=1, shard=1)
    assert counts(client) == (93, 90, 93)
    keys = client.arrow("SELECT DISTINCT shard, seq FROM crypto_trades")
    assert keys.num_rows == 93


def test_what_is_seen_ends_with_the_frame_of_the_last_look_and_hot_is_live(
    lakehouse: Lakehouse, client: Client
) -> None:
    lakehouse.write()
    lakehouse.commit()
    lakehouse.write()
    assert counts(client) == (60, 30, 60)
    lakehouse.write()  # while a query is under way, and with it what only a file might hold

    def count(view: str) -> object:
        return client.duckdb.execute(f"SELECT count(*) FROM {view}").fetchone()

    assert (count("crypto_trades"), count("hot.crypto_trades")) == ((60,), (90,))
    assert client.frames == {0: 20}
    assert not client.refresh()  # the book has not moved, so no view is made anew
    assert (count("crypto_trades"), client.frames) == ((90,), {0: 30})
    with closing(client.duckdb.cursor()) as cursor:  # it has no variables of its own
        assert cursor.execute("SELECT count(*) FROM crypto_trades").fetchone() == (90,)


@pytest.mark.parametrize(
    ("kind", "seen"),
    [("manifest", False), ("manifest", True), ("manifest list", True), ("data file", False)],
)
def test_a_file_that_is_gone_is_one_clear_error_and_no_crash(
    lakehouse: Lakehouse, kind: str, seen: bool
) -> None:
    """In a process of its own: DuckDB's way is to end it."""
    lakehouse.write()
    lakehouse.commit()
    pattern = {"manifest": "*-m0.avro", "manifest list": "snap-*.avro", "data file": "*.parquet"}
    with connect(dsn=lakehouse.dsn) as client:
        folder = Path(client.snapshots["crypto_trades"].metadata_location[7:]).parents[1]
    program = f"""
import sys
from pathlib import Path
from lake.client import connect
from lake.errors import Damaged
with connect(dsn={lakehouse.dsn!r}) as client:
    if {seen}:
        assert client.arrow("SELECT count(price) FROM crypto_trades").num_rows == 1
    for path in Path({str(folder)!r}).rglob({pattern[kind]!r}):
        path.unlink()
    try:
        client.arrow("SELECT sum(price) FROM crypto_trades")
    except Damaged as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert str(folder) in done.stdout
    assert done.stdout.endswith(" is gone: restore the file\n")
    assert done.stdout.count("\n") == 1


def test_rows_that_left_hot_stay_visible(lakehouse: Lakehouse, client: Client) -> None:
    lakehouse.write()
    lakehouse.commit()
    lakehouse.sql("DROP TABLE market.crypto_trades_p20240808")

    assert counts(client) == (30, 30, 0)


def test_lake_and_hot_rows_are_identical_to_the_last_digit(
    lakehouse: Lakehouse, client: Client
) -> None:
    lakehouse.write()
    lakehouse.commit()

    hot = client.arrow("FROM hot.crypto_trades ORDER BY seq")

    assert client.arrow("FROM lake.crypto_trades ORDER BY seq") == hot
    assert client.arrow("FROM crypto_trades ORDER BY seq") == hot
    assert hot["price"][0].as_py() == Decimal("30001.0000000000")
    assert client.polars("SELECT sum(size) AS size FROM crypto_trades").item() == Decimal("7.5")


def test_lake_rolled_back_shows_hot_rows_again(lakehouse: Lakehouse, client: Client) -> None:
    lakehouse.write()
    lakehouse.commit()
    first = lakehouse.table().metadata.current_snapshot_id
    lakehouse.write()
    lakehouse.commit()
    table = lakehouse.table()
    head = table.metadata.current_snapshot_id
    with table.transaction() as change:
        change.set_properties({"ticklake.snapshot": str(head)})
    assert counts(client) == (60, 60, 60)

    assert first is not None
    lakehouse.table().manage_snapshots().rollback_to_snapshot(first).commit()

    assert counts(client) == (60, 30, 60)


def test_predicates_and_columns_are_pushed_into_postgresql_and_parquet(
    lakehouse: Lakehouse, client: Client
) -> None:
    lakehouse.write()
    lakehouse.commit()
    lakehouse.write()

    plan = client.arrow(
        "EXPLAIN (FORMAT json) SELECT price FROM crypto_trades WHERE ticker = 'X:BTCUSD' "
        "AND event_time >= TIMESTAMPTZ '2024-08-08 12:00:00Z'"
    )["explain_value"][0].as_py()

    scans = {each["name"].strip(): str(each["extra_info"]) for each in nodes(json.loads(plan))}
    hot, lake = scans["POSTGRES_SCAN"], scans["ICEBERG_SCAN"]
    assert "FILTER" not in scans
    bounds = (f"seq>{10 << 16 | 65535}", f"seq<={20 << 16 | 65535}")
    assert all(part in hot for part in ("shard=0", *bounds))
    for scan in (hot, lake):
        assert "ticker='X:BTCUSD'" in scan
        assert "event_time>='2024-08-08 12:00:00" in scan
        assert not any(name in scan for name in ("trade_id", "conditions", "received_time"))


def nodes(plan: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for node in plan:
        yield node
        yield from nodes(node["children"])


def test_a_query_loads_no_arrow_and_numbers_rows_as_the_codecs_do() -> None:
    assert union_view.INDEX_BITS == codec.INDEX_BITS
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, lake.client; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"pyarrow", "pyiceberg", "polars", "numpy"} & set(loaded)


def test_client_can_write_nothing(client: Client) -> None:
    with pytest.raises(WrongUse, match="read-only"):
        client.sql("INSERT INTO pg.market.shards (shard) VALUES (9)")


def test_wrong_sql_is_refused_in_words(client: Client) -> None:
    with pytest.raises(WrongUse, match="crypto_trade does not exist"):
        client.sql("FROM crypto_trade")


def test_no_server_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="ticklake up"):
        connect(tmp_path)
    with pytest.raises(Unavailable, match="hot tier"):
        connect(dsn="postgresql://nobody@127.0.0.1:1/none")
