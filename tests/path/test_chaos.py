"""Seeded fault schedules over the real stores, an oracle after each; more in benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lake.hot import hot_tier
from lake.views import engine
from tests.conftest import Databases
from tests.path.chaos.campaign import Campaign

SEEDS = range(12)


@pytest.fixture(scope="module")
def campaign(
    databases: Databases, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Campaign]:
    limits = hot_tier.IDLE_IN_TRANSACTION_MS, dict(engine._CONFIG)
    yield Campaign(databases, migrated_template, Path(tmp_path_factory.mktemp("chaos")))
    hot_tier.IDLE_IN_TRANSACTION_MS = limits[0]
    engine._CONFIG.clear()
    engine._CONFIG.update(limits[1])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seeded_schedule_of_faults_loses_and_doubles_nothing(
    campaign: Campaign, seed: int
) -> None:
    failure = campaign.run(seed)
    assert failure is None, f"{failure.what}\n{failure.trace}"
