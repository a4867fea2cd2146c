"""The audit of orders traces every row to its events, and says which it can't."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from feature_repo.ledger.anchor import make_anchor
from feature_repo.ledger.commands import Cash
from feature_repo.ledger.coverage import Coverage, _folded, audit_orders, rests_on
from feature_repo.ledger.lake_copy import copy_faults
from feature_repo.ledger.projection import project
from feature_repo.ledger.second_place import LockedFolder
from feature_repo.ledger.writer import Writer
from flows.numbered_to_lake import take
from lake.audit.signing import signer_at
from lake.client import connect
from lake.clock import ManualClock
from lake.contracts.contract import LEDGER_DATASETS
from lake.warehouse import Folder
from tests.order_ledger.orders import ONE, ORIGIN, START_US, change, fill, place

Audit = Callable[..., Coverage]


@pytest.fixture
def audit(migrated_dsn: str, tmp_path: Path) -> Audit:
    """Return what audits a ledger of two orders after statements of somebody."""
    clock = ManualClock(START_US)
    writer = Writer(migrated_dsn, clock)
    writer.commit([Cash("desk", 1000 * ONE, START_US, "in")])
    for name in ("a", "b"):
        writer.commit([place(name), change(name, "accepted"), fill(name, ONE // 2)])
    writer.close()
    clock.advance(600_000_000)
    project(migrated_dsn, clock)
    second, signer = LockedFolder(tmp_path / "second"), signer_at(tmp_path / "key.pem")
    make_anchor(migrated_dsn, second, signer, clock)

    def run(*statements: str) -> Coverage:
        with psycopg.connect(migrated_dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())
        return audit_orders(migrated_dsn, second, signer.public)

    return run


def test_all_is_traced(audit: Audit) -> None:
    found = audit()
    assert (found.faults, found.percent) == ([], "100.00")
    rows = {name: each.rows for name, each in found.tables.items()}
    assert rows == {
        "orders": 2,
        "fills": 2,
        "positions": 1,
        "positions_history": 2,
        "portfolio_snapshots": 2,
    }
    assert (found.origins.rows, found.origins.traced) == (2, 2)
    assert found.document()["holds"]


@pytest.mark.parametrize(
    ("statement", "fault", "percent"),
    [
        ("UPDATE market.fills SET fee = 0 WHERE event_id = 3", "fills: 1 rows", "88.88"),
        ("DELETE FROM market.orders WHERE client_order_id = 'a'", "orders: 1 rows", "88.88"),
        (
            "INSERT INTO market.portfolio_snapshots SELECT 9, snapshot_time, 'ghost', cash,"
            " positions, cost, value, equity, unrealised, realised, fees"
            " FROM market.portfolio_snapshots LIMIT 1",
            "portfolio_snapshots: 1 rows",
            "90.00",
        ),
    ],
)
def test_a_row_that_no_event_gives_is_said(
    audit: Audit, statement: str, fault: str, percent: str
) -> None:
    found = audit(statement)
    assert any(fault in each for each in found.faults), found.faults
    assert found.percent == percent


def test_an_illegal_event_of_a_forger_is_said(audit: Audit) -> None:
    found = audit(
        "ALTER TABLE market.order_events DISABLE TRIGGER USER",
        "UPDATE market.order_events SET event_type = 'filled' WHERE id = 3",
        "UPDATE market.order_events SET event_type = 'rejected' WHERE id = 5",
    )
    assert any("order a of desk: filled with 0.5" in each for each in found.faults), found.faults
    assert any("order b of desk: rejected" in each for each in found.faults) or any(
        "order b of desk: filled while rejected" in each for each in found.faults
    )
    assert any("event 3 is not what was written" in each for each in found.faults)


def test_a_fill_that_changed_no_position_is_said(audit: Audit) -> None:
    found = audit(
        "ALTER TABLE market.position_events DISABLE TRIGGER USER",
        "UPDATE market.position_events SET order_event_id = NULL WHERE id = 2",
    )
    assert any("1 fills changed no position" in each for each in found.faults), found.faults


@pytest.mark.parametrize(
    ("given", "is_whole"),
    [
        ({}, True),
        ({"features": "none"}, False),  # a model decided: by what?
        ({"features": "none", "model": "none"}, True),
        ({"features": "none", "model": "by hand: ann"}, True),
        ({"ticks": "none"}, True),  # told apart by how the order ended
        ({"ticks": "some"}, False),
        ({"code": "none"}, False),
        ({"prediction": "trees/7/sim/spot/X:BTCUSD/60000000/60000001"}, True),
        ({"prediction": ""}, False),
    ],
)
def test_an_origin_is_whole_where_it_can_be_followed(given: dict[str, str], is_whole: bool) -> None:
    assert rests_on({**ORIGIN, **given}) is is_whole
    assert not rests_on({name: ORIGIN[name] for name in list(ORIGIN)[1:]})


def test_an_order_without_ticks_is_whole_where_it_was_refused(migrated_dsn: str) -> None:
    nothing = {**ORIGIN, "ticks": "none"}
    with closing(Writer(migrated_dsn, ManualClock(START_US))) as writer:
        writer.commit([Cash("desk", 1000 * ONE, START_US, "in")])
        for name in ("refused", "let out"):
            writer.commit([replace(place(name), origin=nothing)])
        writer.commit([change("refused", "rejected"), change("let out", "accepted")])
    with psycopg.connect(migrated_dsn) as connection:
        found, faults = _folded(connection, 10)
    assert (found.rows, found.traced, faults) == (2, 1, [])


def test_the_lake_s_copy_is_held_against_the_hot_tier(
    audit: Audit, migrated_dsn: str, tmp_path: Path
) -> None:
    """Rows that lack, and rows that were changed after they were copied, are said."""
    place = Folder(tmp_path / "warehouse")
    for dataset in LEDGER_DATASETS:
        take(migrated_dsn, place, dataset)
    with connect(dsn=migrated_dsn, warehouse=place) as client:
        alike, faults = copy_faults(client)
        assert faults == []
        assert alike == sum(client.arrow(f"FROM hot.{name}").num_rows for name in LEDGER_DATASETS)
        with psycopg.connect(migrated_dsn) as connection:
            connection.execute("UPDATE market.fills SET fee = fee + 1 WHERE event_id = 3")
            connection.execute("UPDATE market.orders SET fees = 7")
        _, faults = copy_faults(client)
        assert [fault.partition(":")[0] for fault in faults] == ["orders", "fills", "fills"]
        assert "has others" in faults[0]
