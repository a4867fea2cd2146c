"""The command's manners: help, exit codes, one JSON document, one clear sentence."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra.command.main import GROUPS, run

HEAVY = ("duckdb", "numpy", "polars", "psycopg", "pyarrow", "pyiceberg", "rich", "yaml", "asyncio")


def test_help_lists_every_verb_in_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for group, verbs in GROUPS.items():
        assert not verbs or f"{group}:" in shown
        for name, line in verbs.items():
            assert f"  {name}" in shown
            assert line in shown


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from infra.command.main import run\n"
        "run(['--help'])\n"
        f"sys.exit(' '.join(name for name in {HEAVY} if name in sys.modules) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "words", [["fly"], ["up", "--higher"], ["up", "--profile", "moon"], ["down", "everything"]]
)
def test_wrong_use_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("ticklake: ")
    assert output.err.endswith(" --help`\n")
    assert output.err.count("\n") == 1


def test_json_is_one_document_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["down", "--home", str(tmp_path / "home"), "--json"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out) == {"home": str(tmp_path / "home"), "stopped": []}
    assert output.err == ""


def test_what_does_not_hold_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--home", str(tmp_path)]) == 1
    assert "down" in capsys.readouterr().out


def test_a_fault_is_one_sentence_and_a_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    home = tmp_path / "file" / "home"
    assert run(["up", "--home", str(home), "--json"]) == 1
    output = capsys.readouterr()
    assert output.err == f"ticklake: home {home}: Not a directory: choose another with --home\n"
    assert json.loads(output.out)["error"]["kind"] == "BadInput"


def test_the_home_of_the_environment_gives_way_to_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKLAKE_HOME", str(tmp_path / "environment"))
    run(["down", "--json"])
    run(["down", "--json", "--home", str(tmp_path / "option")])
    documents = capsys.readouterr().out.replace("}\n{", "}\0{").split("\0")
    homes = [json.loads(document)["home"] for document in documents]
    assert homes == [str(tmp_path / "environment"), str(tmp_path / "option")]


def test_a_misspelt_setting_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKLAKE_JOURNAL_BYTE_MAX", "5")
    assert run(["down"]) == 1
    assert "TICKLAKE_JOURNAL_BYTE_MAX: no such setting: one of " in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["up", "status", "sql", "verify", "ingest", "sim", "demo"])
def test_a_home_that_is_no_folder_is_one_sentence_of_every_verb(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    more = {"sql": ["SELECT 1"], "ingest": ["kraken"], "sim": ["--port", "0", "--for", "1s"]}
    assert run([verb, *more.get(verb, []), "--home", str(tmp_path / "file")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"ticklake: home {tmp_path / 'file'}")
    assert said.endswith("Not a directory: choose another with --home\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--truth", "/nowhere/log"], "--truth /nowhere/log: No such file or directory: use ano"),
        (["--host", "host.invalid"], "host.invalid:8764: "),
        (["--port", "70000"], "--port: 70000 is out of bounds: use 0 to 65535"),
    ],
)
def test_an_exchange_that_can_not_start_says_why(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["sim", "--home", str(tmp_path), "--for", "1s", *words]) in (1, 2)
    assert capsys.readouterr().err.startswith(f"ticklake: {said}")


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        assert run(["sim", "--home", str(tmp_path), "--port", str(port), "--for", "1s"]) == 1
    said = capsys.readouterr().err
    assert said == f"ticklake: 127.0.0.1:{port}: Address already in use: use --port 0\n"
