"""What tests of backtests share: a made home, filled and released once for a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backtests.research import Research, research
from tests.conftest import Databases


@pytest.fixture(scope="module")
def house(
    databases: Databases, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Research]:
    with research(databases, migrated_template, tmp_path_factory.mktemp("research")) as house:
        house.fill()
        house.release("first")
        yield house
