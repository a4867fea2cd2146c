"""Orders of an earlier database are opening events, once; what does not fit is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from feature_repo.ledger.commands import Change
from feature_repo.ledger.old_orders import import_orders
from feature_repo.ledger.replay import replay
from feature_repo.ledger.verify import chain_faults
from feature_repo.ledger.writer import Writer
from feature_repo.trading.money import units
from infra.command.main import run
from lake.clock import ManualClock
from lake.errors import BadInput
from lake.state import write_state
from tests.order_ledger.orders import START_US

OLD = """
CREATE TABLE orders (id bigserial, order_id varchar(100), ticker text, side text, order_type text,
    quantity numeric(30, 8), price numeric(20, 8), filled_quantity numeric(30, 8),
    average_fill_price numeric(20, 8), status text, created_at timestamptz);
INSERT INTO orders (order_id, ticker, side, order_type, quantity, price, filled_quantity,
    average_fill_price, status, created_at) VALUES
    ('o1', 'X:BTCUSD', 'buy', 'limit', 2, 100, 0.5, 99.5, 'open', '2025-03-01T10:00Z'),
    ('o2', 'X:BTCUSD', 'sell', 'market', 1, NULL, NULL, 101, 'filled', '2025-03-01T11:00Z'),
    ('o3', 'X:ETHUSD', 'buy', 'limit', 3, 50, 0, NULL, 'canceled', '2025-03-01T12:00Z'),
    ('o4', 'X:ETHUSD', 'buy', 'limit', -3, 50, 0, NULL, 'pending', '2025-03-01T12:00Z'),
    ('o5', 'X:ETHUSD', 'hold', 'limit', 3, 50, 0, NULL, 'pending', '2025-03-01T12:00Z');
CREATE TABLE positions (id bigserial, symbol text, side text, quantity numeric, entry_price numeric,
    current_price numeric, realized_pnl numeric, opened_at timestamptz);
INSERT INTO positions (symbol, side, quantity, entry_price, current_price, realized_pnl, opened_at)
    VALUES ('X:BTCUSD', 'long', 1.5, 90, 100, 12, '2025-03-01T10:00Z'),
    ('X:ETHUSD', 'short', 2, 55, 50, NULL, '2025-03-01T10:00Z');
CREATE TABLE portfolio_snapshots (id bigserial, "timestamp" timestamptz, cash_balance numeric,
    total_value numeric);
INSERT INTO portfolio_snapshots ("timestamp", cash_balance, total_value) VALUES
    ('2025-03-01T10:00Z', 1000, 1150), ('2025-03-01T10:01Z', 900, 1050);
"""


@pytest.fixture
def writer(migrated_dsn: str) -> Iterator[Writer]:
    """Return a writer of the ledger."""
    made = Writer(migrated_dsn, ManualClock(START_US))
    yield made
    made.close()


def test_old_rows_open_the_ledger_and_go_on_from_there(
    writer: Writer, migrated_dsn: str, postgres_dsn: str
) -> None:
    with psycopg.connect(postgres_dsn) as old:
        old.execute(OLD.encode())
    orders, positions, snapshots = import_orders(postgres_dsn, "public", "rrr", writer)
    assert (orders.rows, orders.new, len(orders.refused)) == (5, 3, 2)
    assert (positions.new, snapshots.new) == (2, 2)
    again = import_orders(postgres_dsn, "public", "rrr", writer)
    assert [each.new for each in again] == [0, 0, 0]
    assert [len(each.refused) for each in again] == [2, 0, 0]
    amounts = (units("102"), units("1.5"), units("0.1"))
    (more,) = writer.commit([Change("rrr", "o1", "filled", "f", START_US, *amounts, "maker")])
    assert more.is_new
    assert [chain_faults(migrated_dsn, each) for each in ("order_events", "position_events")] == [
        [],
        [],
    ]
    tables = replay(migrated_dsn, START_US + 300_000_000).tables
    told = {
        row["client_order_id"]: (row["current_state"], f"{row['filled_size']:f}")
        for row in tables["orders"].to_pylist()
    }
    assert told == {
        "o1": ("filled", "2.0000000000"),
        "o2": ("filled", "1.0000000000"),
        "o3": ("cancelled", "0.0000000000"),
    }
    held = {row["ticker"]: row["size"] for row in tables["positions"].to_pylist()}
    assert {ticker: str(size) for ticker, size in held.items()} == {
        "X:BTCUSD": "3.0000000000",
        "X:ETHUSD": "-2.0000000000",
    }
    (snapshot,) = tables["portfolio_snapshots"].to_pylist()
    assert snapshot["realised"] == 12


def test_what_changed_over_there_is_said_and_stays_as_it_was_here(
    writer: Writer, postgres_dsn: str
) -> None:
    with psycopg.connect(postgres_dsn) as old:
        old.execute(OLD.encode())
        old.commit()
        import_orders(postgres_dsn, "public", "rrr", writer)
        old.execute("UPDATE orders SET status = 'cancelled' WHERE order_id = 'o1'")
    orders, *_ = import_orders(postgres_dsn, "public", "rrr", writer)
    assert "for something else" in " ".join(orders.refused)


def test_a_database_without_orders_is_refused(writer: Writer, postgres_dsn: str) -> None:
    with pytest.raises(BadInput, match="has none of"):
        import_orders(postgres_dsn, "public", "rrr", writer)


def test_import_run_enters_them_too(
    tmp_path: Path, migrated_dsn: str, postgres_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(postgres_dsn) as old:
        old.execute(OLD.encode())
    write_state(tmp_path, {"postgres": {"dsn": migrated_dsn}})
    words = ["import", "run", "--old", postgres_dsn, "--home", str(tmp_path), "--json"]
    assert run(words) == 1  # two rows do not fit, which is said
    found = json.loads(capsys.readouterr().out)["ledger"]
    assert [(each["table"], each["new"], len(each["refused"])) for each in found] == [
        ("orders", 3, 2),
        ("positions", 2, 0),
        ("portfolio_snapshots", 2, 0),
    ]
