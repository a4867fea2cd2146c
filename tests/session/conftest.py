"""What tests of sessions share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from serving.streams.connect import connected


@pytest.fixture
def client(valkey_url: str) -> Iterator[Redis]:
    """Return a client that waits for a busy machine."""
    client = connected(valkey_url, wait_s=5.0)
    yield client
    client.close()
