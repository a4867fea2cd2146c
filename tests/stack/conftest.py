"""The stack profile's servers for tests: they are started once, by `make test-stack`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from lake.state import read_state

VARIABLE = "TICKLAKE_TEST_STACK"
HERE = Path(__file__).parent
TOGETHER = {
    **dict.fromkeys(
        ("engines", "quality_flow", "queries", "releases", "roles", "sqlalchemy", "union_promise"),
        "the stack's own lakehouse, which they empty",
    ),
    **dict.fromkeys(("faults", "stack"), "the stack's servers, which they take away"),
    **dict.fromkeys(("new_home", "tls"), "a second stack"),
}
"""What the tests of a file share with those of others: they run one after the other."""

APART = ("faults", "new_home", "stack", "tls")
"""While these run, nobody else may need the stack."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if HERE not in item.path.parents:
            continue
        name = item.path.stem.removeprefix("test_")
        item.add_marker("needs_stack")
        if name in APART:
            item.add_marker("apart")
        if name in TOGETHER:
            item.add_marker(pytest.mark.xdist_group(TOGETHER[name]))


@pytest.fixture(scope="session")
def stack() -> Path:
    """Return the home of a stack that is up; skip, saying so, where none is named."""
    named = os.environ.get(VARIABLE)
    if not named:
        pytest.skip(f"no servers of the stack profile: run `make test-stack`, or set {VARIABLE}")
    home = Path(named).resolve()
    if "trino" not in read_state(home):
        pytest.fail(f"{VARIABLE}: no stack in {home}: run `ticklake up --profile stack` there")
    return home
