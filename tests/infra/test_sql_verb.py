"""`ticklake sql` and its neighbours on running servers: formats, files, faults, the prompt."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from infra.command.main import run
from infra.servers import embedded
from lake import state

ONE = "SELECT 33021.9::DECIMAL(28, 10) AS price, TIMESTAMPTZ '2024-08-08 00:00:00+00' AS at"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("sql").resolve() / "home"
    embedded.up(home)
    yield home
    embedded.down(home)


def ticklake(home: Path, *words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra.command.main", *words, "--home", str(home)],
        input=given,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_json_rows_are_exact(home: Path) -> None:
    done = ticklake(home, "sql", ONE, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout, parse_float=str) == [
        {"price": "33021.9000000000", "at": "2024-08-08 00:00:00+00"}
    ]


def test_csv_has_a_header_and_the_query_may_end_in_a_comment(home: Path) -> None:
    done = ticklake(home, "sql", f"{ONE}; -- one row", "--format", "csv")
    assert list(csv.reader(io.StringIO(done.stdout))) == [
        ["price", "at"],
        ["33021.9000000000", "2024-08-08 00:00:00+00"],
    ]


def test_a_file_is_written_in_the_format_of_its_name(home: Path, tmp_path: Path) -> None:
    assert run(["sql", ONE, "-o", str(tmp_path / "one.parquet"), "--home", str(home)]) == 0
    table = pq.read_table(tmp_path / "one.parquet")
    assert str(table.schema.field("price").type) == "decimal128(28, 10)"
    assert os.listdir(tmp_path) == ["one.parquet"]


def test_a_failing_query_leaves_the_old_file(home: Path, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("kept")
    query = "SELECT CAST(n AS TINYINT) FROM (VALUES (1), (1000)) AS t (n)"
    assert run(["sql", query, "-o", str(tmp_path / "old.csv"), "--home", str(home)]) == 2
    assert (tmp_path / "old.csv").read_text() == "kept"
    assert os.listdir(tmp_path) == ["old.csv"]


def test_the_query_may_come_from_standard_input(home: Path) -> None:
    done = ticklake(home, "sql", "--json", given="SELECT 5 AS n")
    assert json.loads(done.stdout) == [{"n": 5}]


def test_the_views_are_there_on_a_new_lake(home: Path) -> None:
    for name in ("crypto_trades", "hot.crypto_trades", "market_sentiment"):
        done = ticklake(home, "sql", f"SELECT count(*) AS n FROM {name}", "--json")
        assert json.loads(done.stdout) == [{"n": 0}], done.stderr


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["SELEC 1"], "query: Parser Error"),
        (["SELECT * FROM moon"], "query: Catalog Error"),
        ([""], "query: is empty"),
        (["SELECT 1", "-o", "rows.txt"], "--output: names no format"),
        (["SELECT 1", "--format", "csv", "--json"], "--json: means rows as JSON"),
    ],
)
def test_a_wrong_query_or_option_ends_with_2(home: Path, words: list[str], fault: str) -> None:
    done = ticklake(home, "sql", *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"ticklake: {fault}")
    assert done.stderr.count("\n") == 1


def test_several_statements_show_each_one_s_rows(home: Path, tmp_path: Path) -> None:
    text = "SET threads = 1; SELECT 17 AS a; SELECT 23 AS b -- the last"
    done = ticklake(home, "sql", text)
    assert done.returncode == 0
    assert done.stdout.index("17") < done.stdout.index("23")
    refused = ticklake(home, "sql", text, "--format", "csv")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "has several answers, csv holds one: ask one at a time" in refused.stderr
    one = ticklake(home, "sql", "SET threads = 1; SELECT 23 AS b", "--format", "csv")
    assert one.stdout.split() == ["b", "23"]


def test_the_lake_can_not_be_written_by_a_query(home: Path) -> None:
    done = ticklake(home, "sql", "DELETE FROM hot.crypto_trades")
    assert done.returncode == 2


def test_without_servers_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    done = ticklake(tmp_path, "sql", "SELECT 1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(": not started: start the servers with: ticklake up\n")


@pytest.mark.parametrize("verb", [["sql", "SELECT 1"], ["verify"]])
def test_servers_that_are_gone_are_one_sentence_without_a_password(
    tmp_path: Path, verb: list[str]
) -> None:
    address = "postgresql://ticklake:hunter2@127.0.0.1:1/ticklake"
    state.write_state(tmp_path, {"postgres": {"dsn": address}})
    done = ticklake(tmp_path, *verb)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ticklake: hot tier: ")
    assert done.stderr.endswith(": start it: ticklake up\n")
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


def test_the_output_replaces_files_and_nothing_else(home: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    done = ticklake(home, "sql", "SELECT 1", "-o", str(tmp_path / "pipe.csv"))
    assert done.returncode == 1
    assert "pipe.csv: is no regular file, which we would replace: use another -o" in done.stderr
    assert (tmp_path / "pipe.csv").is_fifo()


def test_the_prompt_answers_goes_on_after_an_error_and_leaves(home: Path) -> None:
    lead, end = pty.openpty()
    words = [sys.executable, "-m", "infra.command.main", "sql", "--home", str(home)]
    with subprocess.Popen(words, stdin=end, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as each:
        os.write(lead, b"SELEC;\n.tables\n.help\nSELECT 40 +\n2 AS sum; SELECT 77;\n.quit\n")
        out, err = each.communicate(timeout=180)
    os.close(lead)
    os.close(end)
    assert each.returncode == 0
    assert b"Parser Error" in err
    assert b"crypto_trades" in out
    assert b"ticklake sql --list" in out
    assert out.index(b"42") < out.index(b"77")


def test_the_readme_s_python_runs(home: Path) -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    section = readme.partition("## Query it from Python\n")[2].partition("\n## ")[0]
    program = textwrap.dedent(section).replace('".ticklake"', repr(str(home)))
    names: dict[str, Any] = {}
    exec(compile(program, "README.md", "exec"), names)
    assert names["bars"].columns == ["minute", "open", "high", "low", "close", "volume"]


def test_verify_of_an_empty_lake_holds(home: Path) -> None:
    done = ticklake(home, "verify")
    assert (done.returncode, done.stdout) == (0, "0 events, 0 lost, 0 duplicated\n")
    assert json.loads(ticklake(home, "verify", "--full", "--json").stdout)["holds"] is True


def test_contracts_keep_what_was_released_and_can_be_read(home: Path) -> None:
    assert ticklake(home, "contracts", "check").returncode == 0
    assert "| `trade_id` | text |" in ticklake(home, "contracts", "show", "crypto_trades").stdout


def test_the_library_is_listed_shown_and_run(home: Path) -> None:
    listed = ticklake(home, "sql", "--list")
    assert "candles" in listed.stdout

    shown = ticklake(home, "sql", "--show", "vwap")
    assert shown.stdout.startswith("-- Volume-weighted average price\n")
    bound = ticklake(home, "sql", "--show", "vwap", "since=2026-03-10", "--engine", "trino")
    assert "CAST('2026-03-10 00:00:00.000000+00:00' AS TIMESTAMP(6) WITH TIME ZONE)" in bound.stdout

    done = ticklake(home, "sql", "--query", "candles", "interval=1h", "ticker=X:'", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, []), done.stderr


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--query", "moon"], "query moon: is not in the library: see: ticklake sql --list"),
        (["--query", "vwap", "since"], "--query vwap: reads no value from since"),
        (["--query", "vwap", "moon=1"], "parameter moon: is none of vwap"),
        (["--query", "candles", "interval=32d"], "parameter interval: 32d is outside [1ms, 31d]"),
        (["--list", "--show", "vwap"], "--list, --show, --query: are three things"),
        (["SELECT", "1"], "query: is more than one word of the shell"),
    ],
)
def test_wrong_words_for_the_library_end_with_2(home: Path, words: list[str], fault: str) -> None:
    done = ticklake(home, "sql", *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"ticklake: {fault}")
