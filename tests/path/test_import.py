"""An earlier database comes over whole, is kept equal, and can be gone back to at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from flows.new_rows_to_old import write_back
from flows.old_and_new import Consumer, compare, shadow
from flows.old_tables_to_journal import Old, follow, import_all
from flows.place import placed
from lake.clock import ManualClock, SystemClock, utc_from_us
from lake.errors import Refused, WrongUse
from lake.history.old_database import MARKET_TABLES
from lake.hot.imports import begin, followed, move, side_of
from lake.settings import Settings
from lake.verify.verify import verify
from tests.conftest import Databases
from tests.path.lakehouse import NOW_MS, Lakehouse, frame, quote, stream, trade
from tests.path.market import Home, ended
from tests.path.test_bulk import COUNT, Bulk, trades

DAY = datetime(2025, 3, 1, tzinfo=UTC)
ROWS = 600

# The columns of RRRalgorithms' two schemas, without their extensions.
SCHEMAS = {
    "timescale": ("bigserial", '"timestamp"'),
    "supabase": ("uuid DEFAULT gen_random_uuid()", "event_time"),
}
TABLES = """
CREATE TABLE crypto_aggregates (ticker varchar(20) NOT NULL, {time} timestamptz NOT NULL,
    open numeric(20, 8) NOT NULL, high numeric(20, 8) NOT NULL, low numeric(20, 8) NOT NULL,
    close numeric(20, 8) NOT NULL, volume numeric(30, 8) NOT NULL, vwap numeric(20, 8),
    trade_count integer, created_at timestamptz DEFAULT now(), PRIMARY KEY (ticker, {time}));
CREATE TABLE crypto_trades (id {key}, ticker varchar(20) NOT NULL, {time} timestamptz NOT NULL,
    price numeric(20, 8) NOT NULL, size numeric(30, 8) NOT NULL, exchange varchar(50),
    conditions text[], created_at timestamptz DEFAULT now());
CREATE TABLE crypto_quotes (id {key}, ticker varchar(20) NOT NULL, {time} timestamptz NOT NULL,
    bid_price numeric(20, 8) NOT NULL, bid_size numeric(30, 8) NOT NULL,
    ask_price numeric(20, 8) NOT NULL, ask_size numeric(30, 8) NOT NULL, exchange varchar(50),
    created_at timestamptz DEFAULT now());
CREATE TABLE market_sentiment (id {key}, asset varchar(20) NOT NULL, {time} timestamptz NOT NULL,
    source varchar(50) NOT NULL, sentiment_label varchar(20), sentiment_score numeric(5, 4),
    confidence numeric(5, 4), text text, metadata jsonb, created_at timestamptz DEFAULT now());
CREATE TYPE side AS ENUM ('buy', 'sell');
CREATE TABLE orders (id {key}, order_id varchar(100), side side, quantity numeric(30, 8),
    metadata jsonb);
INSERT INTO orders (order_id, side, quantity, metadata)
    SELECT 'o' || i, 'buy', i, '{{"a": [1]}}' FROM generate_series(1, 7) AS i;
"""
FILL = """
INSERT INTO crypto_trades (ticker, {time}, price, size, exchange, conditions)
    SELECT 'X:BTCUSD', $1::timestamptz + i * interval '4 min', 60000 + i * 0.01, 0.5 + i,
        CASE WHEN i % 3 = 0 THEN NULL ELSE 'coinbase' END,
        CASE WHEN i % 5 = 0 THEN '{{"14","41"}}'::text[] END FROM generate_series(1, $2::int) AS i;
INSERT INTO crypto_quotes (ticker, {time}, bid_price, bid_size, ask_price, ask_size, exchange)
    SELECT 'X:ETHUSD', $1::timestamptz + i * interval '4 min', 3000 + i * 0.01, 1, 3001 + i, 2, '1'
    FROM generate_series(1, $2::int) AS i;
INSERT INTO crypto_aggregates (ticker, {time}, open, high, low, close, volume, vwap, trade_count)
    SELECT 'X:BTCUSD', $1::timestamptz + i * interval '4 min', 10, 12, 9, 11, 7.00000001, 10.5, i
    FROM generate_series(1, $2::int) AS i;
INSERT INTO market_sentiment (asset, {time}, source, sentiment_label, sentiment_score, confidence,
        text, metadata)
    SELECT 'BTC', $1::timestamptz + i * interval '4 min', 'perplexity', 'bullish', 0.25, 0.5,
        'so it is', '{{"b": 1, "a": [2]}}' FROM generate_series(1, $2::int) AS i
"""
QUERIES = (
    "SELECT ticker, {time}, price, size, exchange, conditions FROM crypto_trades ORDER BY {time}",
    "SELECT date_trunc('day', {time}) AS day, count(*), sum(size), max(price) FROM crypto_trades"
    " GROUP BY 1",
    "SELECT {time}, open, high, low, close, volume, vwap, trade_count FROM crypto_aggregates",
    "SELECT ticker, bid_price, ask_size, exchange FROM crypto_quotes WHERE {time} >= '2025-03-02'",
    "SELECT asset, {time}, source, sentiment_label, sentiment_score, text FROM market_sentiment",
)


def fill(dsn: str, time: str, first: datetime, rows: int) -> None:
    """Write rows from a time on, one every four minutes, into each market table."""
    with psycopg.connect(dsn) as connection:
        for statement in FILL.format(time=time).split(";"):
            text = statement.replace("$1", f"'{first.isoformat()}'").replace("$2", str(rows))
            connection.execute(text)


@pytest.fixture
def olds(databases: Databases) -> Iterator[dict[str, Old]]:
    """Yield both earlier databases, by the schema that they have; their names differ too."""
    made = {schema: databases.create() for schema in SCHEMAS}
    found = {}
    for schema, name in made.items():
        key, time = SCHEMAS[schema]
        with psycopg.connect(databases.dsn(name)) as connection:
            connection.execute(TABLES.format(key=key, time=time))
        fill(databases.dsn(name), time, DAY, ROWS)
        found[schema] = Old(databases.dsn(name), f"rrr_{schema}")
    yield found
    for name in made.values():
        databases.drop(name)


@pytest.fixture
def home(migrated_dsn: str, tmp_path: Path) -> Iterator[Home]:
    home = Home(migrated_dsn, tmp_path / "home")
    yield home
    home.close()


def test_both_old_schemas_come_over_whole_and_are_equal_under_their_old_names(
    home: Home, olds: dict[str, Old]
) -> None:
    clock = SystemClock()
    place = placed(Settings(home=home.path), home.dsn)
    for schema, old in olds.items():
        time = SCHEMAS[schema][1]
        done = {each.table: each.rows for each in import_all(old, place, clock)}
        assert done == {**dict.fromkeys(MARKET_TABLES, ROWS), "orders": 7}
        with psycopg.connect(home.dsn) as connection:
            copied = connection.execute(f"SELECT count(*), max(side) FROM {old.name}_tables.orders")
            assert copied.fetchone() == (7, "buy")
        checks = compare(old, place, clock)
        assert [each for each in checks if not each.equal] == []
        assert len(checks) == 4 * 2 + 1
        for query in QUERIES:
            found = shadow(old, place, query.format(time=time), clock)
            assert found.equal, found.line()
            assert found.old_rows == found.new_rows > 0
    with psycopg.connect(home.dsn) as connection:
        hot = connection.execute('SELECT count(*), min("timestamp") FROM old_names.crypto_trades')
        assert hot.fetchone() == (2 * ROWS, DAY + timedelta(minutes=4))
    with pytest.raises(WrongUse):
        shadow(old, place, "SELECT nothing FROM nowhere", clock)
    now = datetime.now(UTC).replace(microsecond=0)
    fill(old.dsn, time, now - timedelta(minutes=8), 1)
    assert [each.rows for each in follow(old, place, clock)] == [1, 1, 1, 1]
    assert all(each.equal for each in compare(old, place, clock))
    fill(old.dsn, time, DAY + timedelta(hours=1, seconds=7), 3)
    said = {c.table: c.said for c in compare(old, place, clock) if not c.equal}
    assert set(said) == set(MARKET_TABLES)
    assert said["crypto_trades"].startswith("362 rows there, 359 here")
    assert verify(home.path).holds


@pytest.mark.parametrize("fault", ["journal.fsync=kill@1", "journal.published=kill@2"])
def test_an_import_that_is_killed_goes_on_and_two_at_once_do_no_harm(
    home: Home, olds: dict[str, Old], fault: str
) -> None:
    old = olds["supabase"]
    with psycopg.connect(old.dsn) as there:
        there.execute("DROP TABLE orders")  # which the ledger takes in, by another way
    words = ("import", "run", "--old", old.dsn, "--name", old.name)
    assert ended(home.start(*words, faults=fault)).code < 0
    both = [ended(each) for each in [home.start(*words) for _ in range(2)]]
    assert 0 in [done.code for done in both]
    # One that finds the other at work says so, and has taken nothing in.
    assert all("ingests rrr_supabase" in done.err for done in both if done.code)
    checks = compare(old, placed(Settings(home=home.path), home.dsn), SystemClock())
    assert len(checks) == 4 * 2
    assert [each for each in checks if not each.equal] == []
    assert verify(home.path).holds


def test_consumers_move_in_order_after_fourteen_days_and_go_back_at_once(
    home: Home, databases: Databases
) -> None:
    clock = ManualClock(1_772_000_000_000_000)
    start = datetime.fromtimestamp(clock.now_us() / 1e6, UTC)
    with psycopg.connect(home.dsn, autocommit=True) as connection:
        begin(connection, "rrr", start)

        def refused(consumer: str, days: float, words: str) -> None:
            with pytest.raises(Refused, match=words):
                move(connection, "rrr", consumer, "new", start + timedelta(days=days))

        def follows(first: float, last: float) -> None:
            for hour in [*range(round(first * 24), int(last * 24)), last * 24]:
                now = start + timedelta(hours=hour)
                followed(connection, "rrr", now, now)

        def compared(days: float, equal: bool) -> None:
            connection.execute("DELETE FROM market.import_days")
            connection.execute(
                "INSERT INTO market.import_days"
                " VALUES ('rrr', 't', '2025-01-01', 1, 1, %s, '', %s)",
                (equal, start + timedelta(days=days)),
            )

        refused("dashboard", 14.1, "was never followed")
        follows(-5, -0.5)  # and then nobody followed it for half a day
        follows(0, 13.9)
        refused("dashboard", 13.9, "13 days of 14")
        refused("dashboard", 14.1, "more than an hour ago")
        follows(13.9, 14.1)
        refused("dashboard", 14.1, "not compared today")
        compared(14.0, False)
        refused("dashboard", 14.1, "1 days differ")
        compared(14.0, True)
        refused("trading", 14.1, "dashboard still reads the old")
        move(connection, "rrr", "dashboard", "new", start + timedelta(days=14.1))
        refused("trading", 14.1, "backtests still reads the old")
        follows(14.1, 14.2)
        for consumer in ("backtests", "trading"):
            move(connection, "rrr", consumer, "new", start + timedelta(days=14.2))
        assert side_of(connection, "rrr", "trading") == "new"
        move(connection, "rrr", "trading", "old", start + timedelta(days=44))
        assert side_of(connection, "rrr", "trading") == "old"
        with pytest.raises(Refused, match="more than 30 days ago"):
            move(connection, "rrr", "dashboard", "old", start + timedelta(days=44.2))
        assert side_of(connection, "rrr", "dashboard") == "new"


def test_a_consumer_reads_the_side_that_counts_at_each_query(
    home: Home, databases: Databases
) -> None:
    name = databases.create()
    key, time = SCHEMAS["timescale"]
    with psycopg.connect(databases.dsn(name)) as there:
        there.execute(TABLES.format(key=key, time=time))
    fill(databases.dsn(name), time, DAY, 3)
    place = placed(Settings(home=home.path), home.dsn)
    consumer = Consumer(Old(databases.dsn(name)), place, "dashboard")
    query = "SELECT count(*) FROM crypto_trades"
    assert consumer.rows(query) == [(3,)]
    with psycopg.connect(home.dsn, autocommit=True) as connection:
        for side, rows in (("new", 0), ("old", 3)):
            connection.execute(
                "INSERT INTO market.switch_moves (name, consumer, side, moved_time)"
                " VALUES ('rrr', 'dashboard', %s, now())",
                (side,),
            )
            assert (consumer.side(), consumer.rows(query)) == (side, [(rows,)])
    databases.drop(name)


def test_rows_of_our_feeds_are_written_there_once_and_both_sides_stay_equal(
    home: Home, olds: dict[str, Old]
) -> None:
    old = olds["timescale"]
    place = placed(Settings(home=home.path), home.dsn)
    clock = SystemClock()
    lakehouse = Lakehouse(home.dsn, home.path)
    lakehouse.journal(stream(0, 2))
    assert lakehouse.move() == 0
    assert [each.rows for each in write_back(old, place)] == [0, 0, 0, 0]
    with psycopg.connect(old.dsn) as there:
        for table in MARKET_TABLES:
            there.execute(f"DELETE FROM {table}")
    fresh = [frame(trade(100 + n), quote()) for n in range(20)]
    lakehouse.journal(fresh)
    assert lakehouse.move() == 0
    wanted = {"crypto_trades": 20, "crypto_quotes": 20}
    written = {each.table: each.rows for each in write_back(old, place)}
    assert {name: rows for name, rows in written.items() if rows} == wanted
    assert not any(each.rows for each in write_back(old, place))
    with psycopg.connect(home.dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO market.imports (name, began_time) VALUES (%s, to_timestamp(%s))",
            (old.name, NOW_MS / 1000),
        )
    followed = {each.table: each.rows for each in follow(old, place, clock)}
    assert {name: rows for name, rows in followed.items() if rows} == wanted
    assert not any(each.rows for each in write_back(old, place))
    assert {c.table for c in compare(old, place, clock) if not c.equal} == {"orders"}
    assert verify(home.path).holds


@pytest.mark.parametrize("fault", ["", "lake.parquet=kill"])
def test_history_that_was_staged_as_an_import_began_is_written_there_too(
    home: Home, olds: dict[str, Old], fault: str
) -> None:
    """It never is in hot tables; nor, where the mover was killed, in the lake yet."""
    old = olds["timescale"]
    place = placed(Settings(home=home.path), home.dsn)
    lakehouse = Lakehouse(home.dsn, home.path)
    lakehouse.journal(stream(0, 2))
    assert lakehouse.move() == 0
    assert not any(each.rows for each in write_back(old, place))  # dual-write begins here
    with psycopg.connect(old.dsn) as there:
        for table in MARKET_TABLES:
            there.execute(f"DELETE FROM {table}")
    Bulk(lakehouse).journal(trades(1, COUNT), live=[frame(trade(99_999))])
    assert lakehouse.move(fault) == (-9 if fault else 0)
    with psycopg.connect(home.dsn, autocommit=True) as connection:
        staged = connection.execute("SELECT sum(rows) FROM market.staged_files").fetchone()
        begin(connection, old.name, utc_from_us(SystemClock().now_us()))
    assert staged == (COUNT,)
    written = sum(each.rows for each in write_back(old, place))
    assert COUNT <= written <= COUNT + 1  # the live one may come with the next mover
    assert not any(each.rows for each in write_back(old, place))
    with psycopg.connect(old.dsn) as there:
        said = there.execute(
            'SELECT count(*), count(DISTINCT "timestamp"), sum(price), max(conditions::text)'
            " FROM crypto_trades WHERE \"timestamp\" < '2024-01-01'"
        ).fetchone()
    assert said is not None
    assert said[:2] == (COUNT, COUNT)
    assert said[2] == sum(100 + n % 50 for n in range(1, COUNT + 1))
    assert said[3] is None
    assert lakehouse.move() == 0
    assert sum(each.rows for each in write_back(old, place)) == COUNT + 1 - written
    assert verify(home.path).holds
