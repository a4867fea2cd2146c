"""The library's frame: headers, values and bounds, the words of our own, no way in for SQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from itertools import pairwise

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.clock import utc_from_us
from lake.errors import BadInput, WrongUse
from lake.queries.dialect import ENGINES, render
from lake.queries.query import catalog, find, read
from lake.queries.value import Bounds, parse_value

NOW_US = 1_773_144_000_123_456


def test_every_statement_says_what_it_is_and_runs_without_words() -> None:
    assert len(catalog()) >= 12
    for query in catalog():
        assert query.answers.endswith(".")
        for meaning in (each.meaning for each in (*query.parameters, *query.columns)):
            assert meaning.endswith("."), (query.name, meaning)
        values = query.values({}, now_us=NOW_US)
        assert {"since", "until"} <= set(values)
        for engine in ENGINES:
            assert "$" not in render(query.source, values, engine)


def test_statements_are_listed_by_name() -> None:
    assert all(a.name < b.name for a, b in pairwise(catalog()))
    with pytest.raises(WrongUse, match="candle: is not in the library"):
        find("candle")


@pytest.mark.parametrize(
    "header",
    [
        "-- Title\nSELECT 1",
        "-- Title\n-- Answer.\n--\n-- Parameters\n--   n number  What.\n--\n-- Columns\nSELECT 1",
        "-- Title\n-- Answer.\n--\n-- Parameters\n--   n integer\n--\n-- Columns\nSELECT 1",
        "-- Title\n-- Answer.\n--\n-- Parameters\n--\n-- Columns\n--   n double  What.\nSELECT 1",
    ],
)
def test_a_header_with_a_part_missing_is_refused(header: str) -> None:
    with pytest.raises(BadInput, match="query broken"):
        read("broken", header)


def test_a_parameter_without_default_is_required() -> None:
    query = read(
        "n",
        "-- Title\n-- Answer.\n--\n-- Parameters\n--   n integer in (0, 5]  What.\n--\n-- Columns\n"
        "--   n integer  What.\nSELECT $n AS n",
    )
    assert query.values({"n": "5"}, now_us=0) == {"n": 5}
    with pytest.raises(WrongUse, match=r"parameter n: is required by n: give n=INTEGER: What\."):
        query.values({}, now_us=0)
    with pytest.raises(WrongUse, match=r"0 is outside \(0, 5\]"):
        query.values({"n": "0"}, now_us=0)
    with pytest.raises(WrongUse, match="parameter m: is none of n: it takes n"):
        query.values({"m": "1"}, now_us=0)


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        ("time", "2026-03-10", datetime(2026, 3, 10, tzinfo=UTC)),
        ("time", "2026-03-10T12:00:00.000001+02:00", datetime(2026, 3, 10, 10, 0, 0, 1, UTC)),
        ("time", "now", datetime(2026, 3, 10, 12, 0, 0, 123456, UTC)),
        ("time", "now-36h", datetime(2026, 3, 9, 0, 0, 0, 123456, UTC)),
        ("duration", "90s", 90_000),
        ("duration", "1d", 86_400_000),
        ("integer", "-5", -5),
        ("text", "X:O'NEIL", "X:O'NEIL"),
        ("text", "null", None),
    ],
)
def test_values_are_read(kind: str, word: str, value: object) -> None:
    assert parse_value("p", kind, word, now_us=NOW_US) == value


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("time", "2026-03-10T12:00:00"),
        ("time", "yesterday"),
        ("time", "now-999999999999d"),
        ("time", "now+1d"),
        ("duration", "5"),
        ("duration", "1.5h"),
        ("integer", "1e3"),
        ("integer", "9" * 19),
        ("text", "a\nb"),
        ("text", "a" * 201),
    ],
)
def test_wrong_values_are_refused_by_name(kind: str, word: str) -> None:
    with pytest.raises(WrongUse, match="parameter p: "):
        parse_value("p", kind, word, now_us=NOW_US)


def test_bounds_are_inclusive_next_to_square_brackets() -> None:
    bounds = Bounds("1s", "1d", highest_inclusive=False)
    assert parse_value("p", "duration", "1s", bounds, now_us=0) == 1000
    for word in ("999ms", "24h"):
        with pytest.raises(WrongUse, match=r"\[1s, 1d\)"):
            parse_value("p", "duration", word, bounds, now_us=0)


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=200))
def test_a_text_is_a_text_whatever_it_holds(word: str) -> None:
    statement = render("SELECT $word AS word", {"word": word}, "duckdb")
    with duckdb.connect() as connection:
        assert connection.execute(statement).fetchall() == [(word,)]


def test_only_one_statement_that_reads_is_taken() -> None:
    for source in ("SELECT 1; SELECT 2", "DROP TABLE crypto_trades", ""):
        with pytest.raises(BadInput, match="one SELECT a file"):
            render(source, {}, "duckdb")
    with pytest.raises(WrongUse, match="parameter n: has no value"):
        render("SELECT $n AS n", {}, "trino")


decimals_10 = st.integers(-(10**27), 10**27).map(lambda n: Decimal(n).scaleb(-10))


@settings(deadline=None)
@given(decimals_10, st.integers(0, 10**17))
def test_exact_ratio_rounds_half_away_from_zero(a: Decimal, b: int) -> None:
    source = f"SELECT exact_ratio(CAST('{a}' AS DECIMAL(38, 10)), {b}) AS ratio"
    with duckdb.connect() as connection:
        found = connection.execute(render(source, {}, "duckdb")).fetchone()
    with localcontext(prec=80):
        ratio = (a / b).quantize(Decimal("1e-10"), ROUND_HALF_UP) if b else None
    assert found == (ratio,)


@settings(deadline=None)
@given(
    st.integers(0, 7_258_118_400_000_000).map(utc_from_us),
    st.integers(1, 31 * 86_400_000),
)
def test_buckets_and_microseconds_are_exact(time: datetime, width_ms: int) -> None:
    source = "SELECT bucket($t, $w) AS bucket, microseconds($t) AS us"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(render(source, {"t": time, "w": width_ms}, "duckdb")).fetchone()
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    us = (time - epoch) // timedelta(microseconds=1)
    assert found == (epoch + timedelta(milliseconds=us // 1000 // width_ms * width_ms), us)


def test_trino_keeps_microseconds() -> None:
    time = datetime(2026, 3, 10, 12, 0, 0, 1, UTC)
    source = "SELECT $t AS t, CAST(x AS TIMESTAMPTZ) AS x FROM crypto_trades"
    found = render(source, {"t": time}, "trino")
    assert found.count("TIMESTAMP(6) WITH TIME ZONE") == 2
    assert "'2026-03-10 12:00:00.000001+00:00'" in found
