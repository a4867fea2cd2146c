"""What computes in memory says nothing on standard output, where programs write JSON."""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import pytest

from lake.in_memory import in_memory
from lake.views.engine import open_duckdb

LONG = "SELECT count(*) FROM range(60_000_000) AS t (i) WHERE hash(i) % 7 = 3"


def opened() -> duckdb.DuckDBPyConnection:
    return open_duckdb([])


def cursor_of_one() -> duckdb.DuckDBPyConnection:
    return open_duckdb([]).cursor()


IS_DRAWN = "SELECT current_setting('enable_progress_bar')"


@pytest.mark.parametrize("made", [in_memory, opened, cursor_of_one])
def test_no_connection_of_ours_draws_progress(
    made: Callable[[], duckdb.DuckDBPyConnection],
) -> None:
    with made() as connection:
        assert connection.execute(IS_DRAWN).fetchone() == (False,)


@pytest.mark.parametrize("is_drawn", [True, False])
def test_it_would_be_drawn_on_standard_output(
    is_drawn: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET progress_bar_time = 1")  # which also has it drawn
        connection.execute(f"SET enable_progress_bar = {is_drawn}")
        connection.execute(LONG).fetchall()
    assert bool(capfd.readouterr().out) is is_drawn
