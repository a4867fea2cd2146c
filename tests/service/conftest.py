"""A database of each module's own, for the orders of its services, and an empty Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from serving.streams.connect import connected
from tests.conftest import Databases


@pytest.fixture(scope="module", autouse=True)
def emptied(valkey_url: str) -> None:
    """Let no module see what another has told."""
    with connected(valkey_url, wait_s=60.0) as client:
        client.flushdb()


@pytest.fixture(scope="module")
def ledger_dsn(databases: Databases, migrated_template: str) -> Iterator[str]:
    """Return the URI of a migrated database."""
    name = databases.create(migrated_template)
    yield databases.dsn(name)
    databases.drop(name)
