"""The repository keeps its own rules; each failure names the file and the line."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

from infra.command.main import GROUPS, ticklake
from lake.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
MODULE_LINES_MAX = 320
TEST_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
BANNED_MODULES = {"utils", "util", "helpers", "helper", "common", "base", "types", "misc", "shared"}
DUCKDB_OPENERS = ("lake/in_memory.py",)
CLOCK_READERS = ("lake/clock.py",)
PARTS_OF_THE_PATH = ("feature_repo/", "flows/", "lake/", "infra/", "serving/", "warehouse_sql/")

# written so that this file does not find itself
MACHINE_PATHS = re.compile("|".join(rf"(?<![\w.])/{part}\b" for part in ("work", "root", "tmp/w")))
REGISTRIES = re.compile(
    r"\bpypi[.]org\b|\bpythonhosted[.]|\bregistry[.]npmjs[.]|\bproxy[.]golang[.]"
)
FETCHED_BY_URL = re.compile(r"git[+]https?://|--(extra-)?index[-]url")
ENVIRONMENT = re.compile(r"os\.environ\b|os\.getenv\(")
MOCKS = re.compile(r"unittest[ .]+(import )?mock\b|\bmonkeypatch[.]setattr|\bMagic[M]ock")
DUCKDB = re.compile(r"\bduckdb\.connect\(")
CLOCK = re.compile(
    r"\btime\.(time|time_ns|monotonic|monotonic_ns|perf_counter)\(|\bdatetime\.(now|utcnow|today)\("
)


def listing() -> list[str]:
    """Return what git keeps or would keep, so that a new file is judged before its commit."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return sorted(path for path in set(done.stdout.splitlines()) if (ROOT / path).is_file())


def modules() -> list[str]:
    return [path for path in listing() if path.endswith(".py")]


def source(path: str) -> str:
    return (ROOT / path).read_text()


def text_lines() -> Iterator[tuple[str, str]]:
    """Yield place and line of every text file."""
    for path in listing():
        raw = (ROOT / path).read_bytes()
        if b"\0" not in raw:
            for number, line in enumerate(raw.decode(errors="replace").splitlines(), 1):
                yield f"{path}:{number}", line


def matches(pattern: re.Pattern[str]) -> list[str]:
    return [f"{place}: {line.strip()}" for place, line in text_lines() if pattern.search(line)]


def functions(path: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(source(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_module_is_longer_than_its_reader_s_patience() -> None:
    lengths = {path: len(source(path).splitlines()) for path in modules()}
    long = {path: n for path, n in lengths.items() if n > _lines_max(path)}
    assert long == {}


def _lines_max(path: str) -> int:
    return MODULE_LINES_MAX if path.startswith(PARTS_OF_THE_PATH) else TEST_LINES_MAX


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{path}:{each.lineno} {each.name}"
        for path in modules()
        for each in functions(path)
        if (each.end_lineno or 0) - each.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_every_module_is_named_after_what_it_holds() -> None:
    assert [path for path in modules() if Path(path).stem in BANNED_MODULES] == []


def test_every_module_says_what_it_is_for() -> None:
    assert [path for path in modules() if not ast.get_docstring(ast.parse(source(path)))] == []


def test_packages_hold_no_logic_in_their_init() -> None:
    full = [
        path
        for path in modules()
        if path.endswith("__init__.py") and len(ast.parse(source(path)).body) != 1
    ]
    assert full == []


def test_every_package_has_an_init() -> None:
    folders = {Path(p).parent for p in modules() if p.startswith(PARTS_OF_THE_PATH)}
    assert [str(each) for each in folders if not (ROOT / each / "__init__.py").exists()] == []


def test_tests_use_real_servers_and_no_mocks() -> None:
    assert matches(MOCKS) == []


def test_no_file_names_a_machine_of_ours() -> None:
    assert matches(MACHINE_PATHS) == []


def test_no_file_names_a_registry_or_fetches_by_address() -> None:
    assert [*matches(REGISTRIES), *matches(FETCHED_BY_URL)] == []


def test_only_the_clock_reads_time() -> None:
    hits = [
        hit
        for hit in matches(CLOCK)
        if hit.startswith(PARTS_OF_THE_PATH) and not hit.startswith(CLOCK_READERS)
    ]
    assert hits == []


def test_duckdb_is_opened_by_what_keeps_it_silent() -> None:
    hits = [hit for hit in matches(DUCKDB) if hit.startswith(PARTS_OF_THE_PATH)]
    assert [hit for hit in hits if not hit.startswith(DUCKDB_OPENERS)] == []
    assert len(hits) == 1


def test_the_environment_is_read_once_and_only_into_settings() -> None:
    hits = [
        hit
        for hit in matches(ENVIRONMENT)
        if hit.startswith(("flows/", "lake/", "infra/", "serving/"))
    ]
    assert [hit for hit in hits if "from_env(os.environ" not in hit] == []


def test_every_setting_is_documented_with_its_unit_and_bounds() -> None:
    for each in fields(Settings):
        assert each.metadata["meaning"], each.name
        unit = {"ms": "milliseconds", "bytes": "bytes", "s": "seconds"}
        named = [word for short, word in unit.items() if short in each.name.split("_")]
        assert all(word in each.metadata["meaning"] for word in named), each.name


def test_every_exact_version_is_of_a_package_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


@pytest.mark.parametrize("name", [name for verbs in GROUPS.values() for name in verbs])
def test_every_verb_says_what_it_does_and_so_does_every_option(name: str) -> None:
    context = click.Context(ticklake)
    command = ticklake.get_command(context, name)
    assert command is not None
    assert command.get_short_help_str(200)
    assert [p.name for p in command.params if isinstance(p, click.Option) and not p.help] == []
    assert {"home", "profile", "as_json"} <= {p.name for p in leaf(command).params}


def leaf(command: click.Command) -> click.Command:
    """Return the command, or the first of a group."""
    return next(iter(command.commands.values())) if isinstance(command, click.Group) else command
