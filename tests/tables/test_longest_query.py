"""Nothing goes while a query that was allowed to begin may still need it, on any engine."""

from __future__ import annotations

import re
from pathlib import Path

from lake.ingest.hot_to_dropped import GRACE_S
from lake.roles import QUERY_S_MAX, ROLES
from lake.tables.lake_marks import MARK_KEPT_S
from lake.tables.trino_upkeep import SWEEP_AGE_S
from lake.tables.upkeep import REMOVE_AFTER_S

TRINO = Path(__file__).resolve().parents[2] / "infra/config/trino/config.properties"
UNITS_S = {"s": 1, "m": 60, "h": 3_600}


def trino_s_max() -> int:
    found = re.search(r"^query\.max-run-time=(\d+)([smh])$", TRINO.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * UNITS_S[found[2]]


def test_days_files_and_notes_outlive_the_longest_query_of_each_engine() -> None:
    readers = [role.statement_s_max for role in ROLES.values() if role.statement_s_max]
    longest_s = max(QUERY_S_MAX, trino_s_max(), *readers)
    ages_s = (GRACE_S, REMOVE_AFTER_S, MARK_KEPT_S, SWEEP_AGE_S)
    assert all(age_s >= longest_s for age_s in ages_s), (longest_s, ages_s)
