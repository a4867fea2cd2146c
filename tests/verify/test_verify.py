"""`verify` finds what is missing, added or changed and says where.

No test here keeps a journal: everything is found after its segments are gone.
"""

from __future__ import annotations

import psycopg
import pytest

from lake.contracts.contract import load
from lake.roles import database_role
from lake.state import with_user
from lake.verify.verify import VERIFIER, verify
from tests.verify.lakehouse import Lakehouse, faults, poison, trade

PASSWORD = "only-for-tests"
"""As tests/hot/test_roles.py has it: roles belong to the whole server."""

PROVEN = pytest.mark.parametrize("proven", [False, True], ids=["first_run", "after_a_proof"])

CHANGED = {
    "ticker": "'X:SOLUSD'",
    "exchange": "'sim:2'",
    "market": "'usdm'",
    "trade_id": "NULL",
    "event_time": "event_time + interval '1 microsecond'",
    "received_time": "received_time - interval '1 microsecond'",
    "price": "price + 0.0000000001",
    "size": "size - 0.0000000001",
    "side": "'buy'",
    "conditions": "''",
    "shard": "1",
    "seq": "seq + 1",
}


def test_untouched_lakehouse_holds(written: Lakehouse) -> None:
    for full in (False, False, True):
        report = written.verify(full=full)
        assert str(report) == "126 events, 0 lost, 0 duplicated"
        assert report.holds


def test_empty_lakehouse_holds(lakehouse: Lakehouse) -> None:
    assert str(lakehouse.verify()) == "0 events, 0 lost, 0 duplicated"


def test_second_run_reads_nothing_again_and_a_third_only_what_is_new(written: Lakehouse) -> None:
    assert written.verify().rows_read > 0
    assert written.verify().rows_read == 0

    written.write(frames=1)

    assert written.verify().rows_read == 3 + 1 + 1 + 4  # trades, quarantined, batch, ledger
    assert written.verify(full=True).rows_read > 100


@PROVEN
def test_row_deleted_in_hot_is_named(written: Lakehouse, proven: bool) -> None:
    written.commit()
    if proven:
        assert written.verify().holds
    written.sql("DELETE FROM market.crypto_trades WHERE shard = 0 AND seq = %s", 3 << 16 | 1)

    report = written.verify()

    assert (report.lost, report.duplicated) == (1, 0)
    (fault,) = faults(report, "hot")
    assert fault == (
        "hot crypto_trades X:ETHUSD 2024-08-08T12:00Z: 1 of 30 rows lost "
        f"(missing shard 0 seq {3 << 16 | 1}): partition market.crypto_trades_p20240808"
    )


@PROVEN
def test_row_added_in_hot_is_counted(written: Lakehouse, proven: bool) -> None:
    if proven:
        assert written.verify().holds
    written.sql("INSERT INTO market.crypto_trades SELECT * FROM market.crypto_trades LIMIT 1")

    report = written.verify()

    assert (report.lost, report.duplicated) == (0, 1)
    assert len(faults(report, "hot")) == 1


@PROVEN
def test_values_swapped_between_two_rows_in_hot_are_found(written: Lakehouse, proven: bool) -> None:
    if proven:
        assert written.verify().holds
    written.sql(
        "UPDATE market.crypto_trades AS t SET price = other.price FROM market.crypto_trades other "
        "WHERE t.shard = 0 AND other.shard = 0 AND t.ticker = other.ticker "
        "AND (t.seq, other.seq) IN ((%s, %s), (%s, %s))",
        *(3 << 16, 4 << 16, 4 << 16, 3 << 16),
    )

    report = written.verify()

    assert (report.lost, report.duplicated, report.changed) == (0, 0, 1)
    assert str(report).startswith(
        "126 events, 0 lost, 0 duplicated, changed in 1 place; 1 fault:\n"
    )
    assert written.sql("SELECT FROM market.alerts WHERE fault LIKE '%% changed in 1 place'") == 1
    (fault,) = faults(report, "hot")
    assert "X:BTCUSD 2024-08-08T12:00Z: 60 rows, of which some are not as they were" in fault


def test_any_column_changed_in_hot_is_found(written: Lakehouse) -> None:
    assert set(CHANGED) == set(load("crypto_trades").names)
    seq = 5 << 16 | 1
    for column, value in CHANGED.items():
        assert written.verify().holds
        original = _row(written, seq)
        with psycopg.connect(written.dsn) as connection:
            connection.execute(
                f"UPDATE market.crypto_trades SET {column} = {value} "
                f"WHERE shard = 0 AND seq = {seq}".encode()
            )
        assert faults(written.verify(), "hot"), column
        _put_back(written, original)


def _row(house: Lakehouse, seq: int) -> tuple[object, ...]:
    with psycopg.connect(house.dsn) as connection:
        row = connection.execute(
            "SELECT * FROM market.crypto_trades WHERE shard = 0 AND seq = %s", [seq]
        ).fetchone()
    assert row is not None
    return row


def _put_back(house: Lakehouse, row: tuple[object, ...]) -> None:
    marks = ", ".join(["%s"] * len(row))
    received = load("crypto_trades").names.index("received_time")
    house.sql(
        "DELETE FROM market.crypto_trades WHERE received_time BETWEEN %s::timestamptz - "
        "interval '1 ms' AND %s AND trade_id IS NOT DISTINCT FROM %s OR trade_id IS NULL "
        "AND side = 'sell'",
        *(row[received], row[received], row[3]),
    )
    house.sql(f"INSERT INTO market.crypto_trades VALUES ({marks})", *row)


@pytest.mark.parametrize("role", ["owner", "verifier"])
def test_change_by_a_session_still_open_is_found_at_once(written: Lakehouse, role: str) -> None:
    dsn = written.dsn if role == "owner" else verifier_dsn(written)
    assert written.verify(dsn=dsn).holds
    assert written.verify(dsn=dsn).rows_read == 0
    with psycopg.connect(written.dsn, autocommit=True) as connection:
        connection.execute("UPDATE market.crypto_trades SET side = 'sell' WHERE seq = 131072")
        written.catalog.engine.dispose()

        assert not verify(dsn=dsn, warehouse=written.place).holds


def verifier_dsn(house: Lakehouse) -> str:
    """Return the address of the role that `ticklake verify` connects as, with its login given."""
    role = database_role(VERIFIER)
    house.sql(f"ALTER ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    house.sql("SELECT market.grant_roles()")
    return with_user(house.dsn, role, PASSWORD)


@PROVEN
def test_partition_truncated_or_dropped_without_proof_is_found(
    written: Lakehouse, proven: bool
) -> None:
    if proven:
        assert written.verify().holds
    written.sql("TRUNCATE market.crypto_trades_p20240808")
    assert written.verify().lost == 90

    written.sql("DROP TABLE market.crypto_trades_p20240808")
    assert written.verify().lost == 90


def test_partition_dropped_with_proof_holds_and_a_late_row_makes_it_again(
    written: Lakehouse,
) -> None:
    written.commit()
    written.verify()
    written.sql(
        "INSERT INTO market.dropped_partitions (dataset, day, rows, digest) "
        "SELECT dataset, '2024-08-08', sum(rows), sum(digest) FROM market.ledger_minutes "
        "WHERE dataset = 'crypto_trades' GROUP BY 1"
    )
    written.sql("DROP TABLE market.crypto_trades_p20240808")
    assert written.verify().holds

    written.write(frames=1)
    assert written.verify().holds
    assert written.verify(full=True).holds

    written.sql("DELETE FROM market.crypto_trades WHERE trade_id IS NULL")
    assert written.verify().lost == 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE market.quarantine SET raw = 'x' WHERE seq >> 16 = 2",
        "DELETE FROM market.quarantine WHERE seq >> 16 = 2",
    ],
)
def test_quarantine_is_proven_too(written: Lakehouse, change: str) -> None:
    assert written.verify().holds
    written.sql(change)

    assert faults(written.verify(), "hot")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE market.ingest_batches SET duplicate = 1 WHERE last_frame = 20", "add up to 43"),
        ("DELETE FROM market.ingest_batches WHERE last_frame = 20", "batches end at frame 10"),
        ("UPDATE market.ingest_batches SET first_frame = 12 WHERE last_frame = 20", "frame 11"),
    ],
)
def test_batches_that_do_not_add_up_are_named(written: Lakehouse, change: str, said: str) -> None:
    written.sql(change)

    journal = [str(fault) for fault in written.verify().faults if fault.tier == "journal"]

    assert any(said in fault for fault in journal), journal


def test_report_as_json_names_every_fault(written: Lakehouse) -> None:
    written.sql("DELETE FROM market.crypto_trades WHERE seq = %s", 1 << 16)

    document = written.verify().as_json()

    assert (document["holds"], document["lost"], document["events"]) == (False, 2, 126)
    assert document["faults"][0]["ticker"] == "X:BTCUSD"


def test_poisoned_and_late_rows_of_many_days_hold(lakehouse: Lakehouse) -> None:
    late = [trade(86_400 * day + 1, 0) | {"seq": 1 << 16 | day} for day in range(4)]
    lakehouse.write(1, tables={"crypto_trades": late, "quarantine": [poison(1, 5)]})
    lakehouse.commit()

    assert lakehouse.verify().holds
    assert lakehouse.verify(full=True).holds
