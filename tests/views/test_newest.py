"""client.newest gives the rows that ORDER BY ... LIMIT gives, without sorting all of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.client import Client, connect
from lake.errors import WrongUse
from lake.views.newest import newest_sql
from tests.verify.lakehouse import NOON, Lakehouse

NOW = datetime.now(UTC)
AGES = st.integers(-(10**11), 10**15) | st.integers(0, 5)
"""Microseconds before now: of the future, of today, of the last thirty years; some at once."""


@pytest.fixture
def lakehouse(migrated_dsn: str, tmp_path: Path) -> Iterator[Lakehouse]:
    house = Lakehouse(migrated_dsn, tmp_path / "warehouse")
    yield house
    house.close()


@pytest.fixture
def client(lakehouse: Lakehouse) -> Iterator[Client]:
    with connect(dsn=lakehouse.dsn) as found:
        yield found


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("AB"), AGES), max_size=60),
    st.integers(1, 70),
    st.none() | AGES,
)
def test_it_is_what_a_sort_of_everything_gives(
    rows: list[tuple[str, int]], count: int, before: int | None
) -> None:
    until = None if before is None else NOW - timedelta(microseconds=before)
    with duckdb.connect() as engine:
        engine.execute("SET TimeZone = 'UTC'")
        engine.execute("CREATE TABLE crypto_trades (ticker TEXT, event_time TIMESTAMPTZ, seq INT)")
        for seq, (ticker, age) in enumerate(rows):
            values = [ticker, NOW - timedelta(microseconds=age), seq]
            engine.execute("INSERT INTO crypto_trades VALUES (?, ?, ?)", values)

        def ask(query: str) -> list[tuple[object, ...]]:
            return engine.execute(query).fetchall()

        found = ask(newest_sql(ask, "crypto_trades", count, {"ticker": "A"}, until))
        within = f" AND event_time < TIMESTAMPTZ '{until}'" if until else ""
        assert found == ask(
            f"FROM crypto_trades WHERE ticker = 'A'{within}"
            f" ORDER BY event_time DESC, seq DESC LIMIT {count}"
        )


def test_lake_and_hot_rows_are_among_them(lakehouse: Lakehouse, client: Client) -> None:
    lakehouse.write()
    lakehouse.commit()
    lakehouse.write()
    wanted = "FROM crypto_trades WHERE ticker = 'X:BTCUSD'"
    order = "ORDER BY event_time DESC, seq DESC"
    found = client.newest("crypto_trades", 25, ticker="X:BTCUSD")
    assert found == client.arrow(f"{wanted} {order} LIMIT 25")
    before = NOON + timedelta(seconds=5)
    found = client.newest("crypto_trades", 25, before, ticker="X:BTCUSD")
    assert found == client.arrow(f"{wanted} AND event_time < TIMESTAMPTZ '{before}' {order}")
    assert client.newest("crypto_trades", 10, ticker="X:ETHUSD' OR 'a' = 'a").num_rows == 0


def test_what_can_t_be_asked_is_one_sentence(client: Client) -> None:
    with pytest.raises(WrongUse, match="has no column tickers"):
        client.newest("crypto_trades", 1, tickers="X:BTCUSD")
    with pytest.raises(WrongUse, match="are none"):
        client.newest("crypto_trades", 0)
    with pytest.raises(WrongUse, match="has no column event_time"):
        client.newest("feed_gaps", 1)
