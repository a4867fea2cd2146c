"""Seeded fault schedules over the real stores, an oracle after each; more in benchmarks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Databases
from tests.path.chaos.campaign import Campaign

SEEDS = range(10)

KEPT = sorted((Path(__file__).parent / "chaos" / "kept").glob("*.jsonl"))
"""Schedules that once failed, shortened: a seed alone would mean another one with the next plot."""


@pytest.fixture(scope="module")
def campaign(
    databases: Databases, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Campaign]:
    folder = Path(tmp_path_factory.mktemp("chaos"))
    with Campaign(databases, migrated_template, folder) as campaign:
        yield campaign


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seeded_schedule_of_faults_loses_and_doubles_nothing(
    campaign: Campaign, seed: int
) -> None:
    failure = campaign.run(seed)
    assert failure is None, f"{failure.what}\n{failure.trace}"


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_schedule_that_once_failed_loses_and_doubles_nothing(
    campaign: Campaign, path: Path
) -> None:
    failure = campaign.run(-1, [json.loads(line) for line in path.read_text().splitlines()])
    assert failure is None, f"{failure.what}\n{failure.trace}"
