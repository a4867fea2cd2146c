"""Servers that are there and don't let us in: one sentence that says so, from each of them."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from infra.command.main import run
from lake.errors import Unavailable
from lake.hot.look import look
from lake.state import OTHER_PASSWORD, with_user, write_state
from lake.views.engine import attach_warehouse, file_fault, open_duckdb
from lake.warehouse import Bucket
from tests.infra.test_given import store

WRONG = "hunter2"


def wrong_valkey(url: str) -> str:
    return f"redis://:{WRONG}@{url.rpartition('@')[2]}"


@pytest.mark.parametrize("verb", [["sql", "SELECT 1"], ["verify"]])
def test_a_verb_says_that_the_password_is_another_not_that_nothing_runs(
    tmp_path: Path, migrated_dsn: str, verb: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_state(tmp_path, {"postgres": {"dsn": with_user(migrated_dsn, "ticklake", WRONG)}})
    assert run([*verb, "--home", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("ticklake: hot tier: ")
    assert "password authentication failed" in said
    assert said.endswith(f": {OTHER_PASSWORD}\n")
    assert said.count("\n") == 1
    assert WRONG not in said


def test_status_says_so_of_both_stores(
    tmp_path: Path, migrated_dsn: str, valkey_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "given").mkdir()
    state = {
        "postgres": {"dsn": with_user(migrated_dsn, "ticklake", WRONG)},
        "valkey": {"url": wrong_valkey(valkey_url)},
    }
    write_state(tmp_path, state)
    assert run(["status", "--home", str(tmp_path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["wrong"]
    remedies = {each["thing"]: each["remedy"] for each in found if each["kind"] == "server"}
    assert remedies == {"postgres": OTHER_PASSWORD, "valkey": OTHER_PASSWORD}


def test_a_look_at_the_hot_tier_says_so(migrated_dsn: str) -> None:
    with pytest.raises(Unavailable) as found:
        look(with_user(migrated_dsn, "ticklake", WRONG))
    assert found.value.remedy == OTHER_PASSWORD


def test_a_file_in_a_store_that_refuses_our_keys_is_not_one_that_is_silent() -> None:
    connection = open_duckdb([])
    with store(403) as address:
        attach_warehouse(connection, Bucket("s3://lake/w", address, "us-east-1", "key", "secret"))
        with pytest.raises(duckdb.Error) as said:
            connection.execute("FROM read_parquet('s3://lake/w/a.parquet')")
    connection.close()
    fault = file_fault("lake table a", said.value)
    assert isinstance(fault, Unavailable)
    assert fault.fault.startswith("its store refuses our keys (")
    assert fault.remedy == "see `s3` in run/state.json"
