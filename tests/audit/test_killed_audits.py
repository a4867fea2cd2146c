"""Issue 5, faults: a killed audit leaves the results that were; two at once are a chain."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lake.audit.results import keep, kept_results
from lake.hot.alerts import open_alerts
from tests.audit.house import Audited

ROOT = Path(__file__).resolve().parents[2]
ENDS_S_MAX = 120
AT = datetime(2026, 11, 26, tzinfo=UTC)
ORDERS = {"files": 0, "bytes": 0, "events": 0, "faults": [], "holds": True}

AUDIT = """
import json, sys
from pathlib import Path
from lake.archive.place import ArchivePlace
from lake.audit.audit import AuditPlace, run_audit
from lake.audit.signing import signer_at
from lake.clock import SystemClock
from lake.steps import Steps
from lake.warehouse import Folder
dsn, folder, plan = json.loads(sys.argv[1])
folder = Path(folder)
archive = ArchivePlace(Folder(folder / "archive"))
place = AuditPlace(dsn, Folder(folder / "warehouse"), archive, folder / "audits")
signer = signer_at(folder / "keys" / "audit.pem")
run_audit(place, signer, SystemClock(), steps=Steps.parse(plan))
"""


@pytest.fixture
def lakehouse(migrated_dsn: str, tmp_path: Path) -> Iterator[Audited]:
    lakehouse = Audited(migrated_dsn, tmp_path / "warehouse")
    lakehouse.write()
    lakehouse.commit()
    assert lakehouse.audit().holds
    yield lakehouse
    lakehouse.close()


def start(lakehouse: Audited, plan: str = "") -> subprocess.Popen[bytes]:
    order = [lakehouse.dsn, str(lakehouse.folder), plan]
    return subprocess.Popen([sys.executable, "-c", AUDIT, json.dumps(order)], cwd=ROOT)


def numbers(lakehouse: Audited) -> list[int]:
    with psycopg.connect(lakehouse.dsn) as connection:
        return [each.number for each in kept_results(connection)]


def names(lakehouse: Audited) -> list[str]:
    return sorted(path.name for path in lakehouse.results.iterdir())


def lose_a_file(lakehouse: Audited) -> None:
    path, *_ = lakehouse.files()
    path.rename(path.with_suffix(".away"))


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        ("audit.checked=kill@1", [1]),
        ("audit.checked=kill@3", [1]),
        ("audit.written=kill", [1]),
        ("audit.kept=kill", [1, 2]),
    ],
)
def test_an_audit_killed_at_any_step_leaves_all_or_nothing_and_the_next_is_whole(
    lakehouse: Audited, step: str, kept: list[int]
) -> None:
    """What it found and the alert of it are there together; `audit check` finds no fault."""
    lose_a_file(lakehouse)
    assert start(lakehouse, step).wait(ENDS_S_MAX) == -9
    assert numbers(lakehouse) == kept
    with psycopg.connect(lakehouse.dsn) as connection:
        told = [each.thing for each in open_alerts(connection)]
    assert ("audit" in told) == (kept == [1, 2])
    assert lakehouse.faults_of_results() == []
    after = lakehouse.audit()
    assert not after.holds
    assert numbers(lakehouse) == [*kept, len(kept) + 1]
    assert names(lakehouse) == [f"{n:06}.{s}" for n in numbers(lakehouse) for s in ("json", "sig")]
    assert lakehouse.faults_of_results() == []
    with psycopg.connect(lakehouse.dsn) as connection:
        alerts = [each.thing for each in open_alerts(connection)]
    assert alerts.count("audit") == 1


def test_two_audits_at_once_one_of_them_killed_are_one_chain(lakehouse: Audited) -> None:
    both = [start(lakehouse), start(lakehouse, "audit.written=kill")]
    assert [each.wait(ENDS_S_MAX) for each in both] == [0, -9]
    assert numbers(lakehouse) == [1, 2]
    assert lakehouse.faults_of_results() == []
    assert lakehouse.audit().number == 3
    assert lakehouse.faults_of_results() == []


def test_an_audit_of_orders_beside_one_of_the_lake_is_the_next_of_the_chain(
    lakehouse: Audited,
) -> None:
    """They have no lock of the whole run between them: each gets its number when it is kept."""
    signer = lakehouse.signer

    def other(document: dict[str, Any]) -> int:
        with psycopg.connect(lakehouse.dsn) as connection:
            return keep(connection, lakehouse.results, signer, document, AT).number

    running = start(lakehouse)
    kept = [other(ORDERS) for _ in range(40)]
    assert running.wait(ENDS_S_MAX) == 0
    assert numbers(lakehouse) == list(range(1, len(kept) + 3))
    assert lakehouse.faults_of_results() == []


def test_a_result_waits_for_the_one_that_is_being_kept(lakehouse: Audited) -> None:
    signer = lakehouse.signer
    made: list[int] = []
    with (
        psycopg.connect(lakehouse.dsn) as first,
        psycopg.connect(lakehouse.dsn) as second,
    ):
        second.execute("SET lock_timeout = '300ms'")
        second.commit()

        def at_once(connection: psycopg.Connection) -> None:
            with pytest.raises(psycopg.errors.LockNotAvailable):
                keep(second, lakehouse.results, signer, ORDERS, AT)

        made.append(keep(first, lakehouse.results, signer, ORDERS, AT, tell=at_once).number)
        made.append(keep(second, lakehouse.results, signer, ORDERS, AT).number)
    assert made == [2, 3]
    assert lakehouse.faults_of_results() == []
