"""`ticklake contracts new` writes a dataset whose contract, migration, flow and suite all hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.contracts.scaffold import NAME_LENGTH_MAX, scaffold
from lake.errors import BadInput, WrongUse

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("flows", "infra", "lake", "warehouse_sql", "pyproject.toml", "README.md")
RUN_S_MAX = 600


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy what a new dataset touches, and the tests' own beginnings."""
    skip = shutil.ignore_patterns("__pycache__", "kubernetes", "grafana")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, tmp_path / part, ignore=skip)
        else:
            shutil.copy(ROOT / part, tmp_path / part)
    (tmp_path / "tests" / "flows").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    shutil.copy(ROOT / "tests" / "flows" / "test_scheduled.py", tmp_path / "tests" / "flows")
    return tmp_path


def ran(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), "PYTHONSAFEPATH": ""},
        capture_output=True,
        text=True,
        timeout=RUN_S_MAX,
        check=False,
    )


def test_a_new_dataset_passes_the_check_and_its_own_suite(checkout: Path) -> None:
    made = ran(checkout, "infra.command.main", "contracts", "new", "open_interest")
    assert made.returncode == 0, made.stderr
    for path in made.stdout.split():
        assert (checkout / path).is_file()
    checked = ran(checkout, "infra.command.main", "contracts", "check")
    assert (checked.returncode, checked.stderr) == (0, "")
    suites = ("tests/flows/test_file_to_open_interest.py", "tests/flows/test_scheduled.py")
    suite = ran(checkout, "pytest", "-q", *suites)
    assert suite.returncode == 0, suite.stdout
    style = ran(checkout, "ruff", "check", *(p for p in made.stdout.split() if p.endswith(".py")))
    assert style.returncode == 0, style.stdout
    form = ran(checkout, "ruff", "format", "--check", "flows", "lake")
    assert form.returncode == 0, form.stdout


def test_the_longest_name_fits_the_lines_of_every_part() -> None:
    made = scaffold("a" * NAME_LENGTH_MAX, "market-data", ROOT)
    modules = [text for path, text in made.items() if path.suffix == ".py"]
    assert max(len(line) for text in modules for line in text.splitlines()) <= 100


@pytest.mark.parametrize("name", ["Funding", "1st", "a-b", "", "../x", "a" * 41, "x; DROP TABLE"])
def test_a_name_that_is_none_is_wrong_use(name: str) -> None:
    with pytest.raises(WrongUse, match="is no name"):
        scaffold(name, "market-data", ROOT)


def test_a_name_that_is_taken_and_a_folder_that_is_no_checkout_are_said(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="is there already"):
        scaffold("bars", "market-data", ROOT)
    with pytest.raises(BadInput, match="no checkout"):
        scaffold("open_interest", "market-data", tmp_path)
