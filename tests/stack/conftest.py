"""The stack profile's servers for tests: they are started once, by `make test-stack`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lake.state import read_state

VARIABLE = "TICKLAKE_TEST_STACK"


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
