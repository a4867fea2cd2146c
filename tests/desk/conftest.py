"""One database for all desks of a module: each test has an account of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Databases
from tests.desk.desks import World


@pytest.fixture(scope="module")
def ledger_dsn(databases: Databases, migrated_template: str) -> Iterator[str]:
    """Return the URI of a migrated database."""
    name = databases.create(migrated_template)
    yield databases.dsn(name)
    databases.drop(name)


@pytest.fixture
def world(ledger_dsn: str) -> Iterator[World]:
    """Return an account of the test's own, where BTC trades at 100."""
    made = World(ledger_dsn)
    made.prices.tell(100)
    yield made
    made.book.close()
