"""Design 3.7: hot data leaves only after proof, never before its age, and late rows stay whole."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import psycopg
import pytest

from lake.clock import Clock, ManualClock, SystemClock
from lake.hot.bars import LEVELS
from lake.hot.look import look
from lake.hot.partitions import existing_partitions
from lake.ingest.hot_to_dropped import GRACE_S, drop_due
from lake.steps import Steps
from lake.tables.catalog import open_catalog
from lake.tables.names import NAMESPACE
from lake.verify.verify import verify
from lake.views.client import Client
from tests.path.chaos.faults import ArmedSteps
from tests.path.lakehouse import NOW_MS, Lakehouse, stream

DAY = date(2025, 10, 9)


@pytest.fixture
def lakehouse(edition_dsn: str, tmp_path: Path) -> Lakehouse:
    lakehouse = Lakehouse(edition_dsn, tmp_path)
    lakehouse.journal(stream(0, 10))
    assert lakehouse.move() == 0
    return lakehouse


def dropped(
    lakehouse: Lakehouse,
    clock: Clock | None = None,
    grace_s: int = 0,
    steps: Steps | None = None,
) -> dict[str, str]:
    """Return dataset -> "" where its day was dropped, else the reason why not."""
    with psycopg.connect(lakehouse.dsn, autocommit=True) as connection, Client(lakehouse.dsn) as c:
        found = drop_due(connection, c, clock or SystemClock(), grace_s=grace_s, steps=steps)
    assert all(leaving.day == DAY and leaving.dropped == (not leaving.reason) for leaving in found)
    return {leaving.dataset: leaving.reason for leaving in found}


def days(lakehouse: Lakehouse, dataset: str) -> list[date]:
    with psycopg.connect(lakehouse.dsn) as connection:
        return [day for day in existing_partitions(connection, dataset) if day == DAY]


def test_a_proven_day_leaves_and_the_view_still_has_every_row(lakehouse: Lakehouse) -> None:
    before = lakehouse.stored("crypto_trades")
    assert dropped(lakehouse) == {"crypto_trades": "", "crypto_quotes": ""}
    assert days(lakehouse, "crypto_trades") == []
    assert lakehouse.stored("crypto_trades") == before
    assert lakehouse.stored("hot.crypto_trades") == []
    assert verify(dsn=lakehouse.dsn).holds
    assert verify(dsn=lakehouse.dsn, full=True).holds


def test_a_late_replay_makes_the_day_anew_and_it_leaves_by_the_same_proof(
    lakehouse: Lakehouse,
) -> None:
    dropped(lakehouse)
    lakehouse.journal(stream(5, 10), up=False)
    assert lakehouse.move() == 0
    assert len(lakehouse.stored("crypto_trades")) == 45
    assert len(lakehouse.stored("hot.crypto_trades")) == 15
    assert verify(dsn=lakehouse.dsn).holds
    assert dropped(lakehouse)["crypto_trades"] == ""
    assert len(lakehouse.stored("crypto_trades")) == 45
    assert verify(dsn=lakehouse.dsn, full=True).holds


def test_a_young_day_stays_though_the_lake_holds_it(lakehouse: Lakehouse) -> None:
    assert dropped(lakehouse, ManualClock(NOW_MS * 1000)) == {}


def test_a_day_written_to_within_the_grace_stays(lakehouse: Lakehouse) -> None:
    assert dropped(lakehouse, grace_s=900)["crypto_trades"] == "written to within 900 s"


def test_a_day_stays_for_a_grace_since_the_lake_was_first_seen_to_hold_it(
    lakehouse: Lakehouse,
) -> None:
    """As after an outage of the lake: its rows are old in hot, and young in the lake."""
    clock = ManualClock(SystemClock().now_us() + 3_600_000_000)

    def again() -> dict[str, str]:
        with psycopg.connect(lakehouse.dsn, autocommit=True) as pg, Client(lakehouse.dsn) as client:
            found = drop_due(pg, client, clock)
        return {leaving.dataset: leaving.reason for leaving in found}

    assert again()["crypto_trades"] == f"seen in the lake for less than {GRACE_S} s"
    clock.advance(GRACE_S * 1_000_000 - 1)
    assert again()["crypto_trades"] == f"seen in the lake for less than {GRACE_S} s"
    clock.advance(1)
    assert again()["crypto_trades"] == ""
    with psycopg.connect(lakehouse.dsn) as connection:
        held = connection.execute("SELECT count(*) FROM market.covered_days").fetchone()
    assert held == (0,)


def test_a_failed_proof_keeps_the_day(lakehouse: Lakehouse) -> None:
    with psycopg.connect(lakehouse.dsn) as connection:
        connection.execute(
            "UPDATE market.ledger_minutes SET digest = digest + 1 WHERE dataset = 'crypto_trades'"
        )
    assert "differ" in dropped(lakehouse)["crypto_trades"]
    assert days(lakehouse, "crypto_trades") == [DAY]


def test_a_failed_proof_is_an_alert_until_the_day_has_left(
    lakehouse: Lakehouse, caplog: pytest.LogCaptureFixture
) -> None:
    change = "UPDATE market.ledger_minutes SET digest = digest + %s WHERE dataset = 'crypto_trades'"
    with psycopg.connect(lakehouse.dsn) as connection:
        connection.execute(change, (1,))
    dropped(lakehouse)
    dropped(lakehouse)
    alert = f"hot crypto_trades of {DAY}"
    found = look(lakehouse.dsn)
    assert [each.thing for each in found.alerts] == [alert]
    assert found.alerts[0].seen_at > found.alerts[0].raised_at
    assert found.lines()[1].startswith(f"ALERT       {alert}: the lake has 30 rows")
    assert [record.message.partition(": ")[0] for record in caplog.records] == [alert]

    with psycopg.connect(lakehouse.dsn) as connection:
        connection.execute(change, (-1,))
    assert dropped(lakehouse)["crypto_trades"] == ""
    assert look(lakehouse.dsn).alerts == []


def test_a_day_whose_bars_are_not_made_stays(lakehouse: Lakehouse) -> None:
    with psycopg.connect(lakehouse.dsn) as connection:
        connection.execute("UPDATE market.roll_marks SET frame = 1")
    assert dropped(lakehouse)["crypto_trades"] == "not yet in the roll-ups"


def test_bars_outlive_their_trades(lakehouse: Lakehouse) -> None:
    query = "SELECT sum(trades), sum(volume) FROM market.crypto_agg_"
    with psycopg.connect(lakehouse.dsn, autocommit=True) as connection:
        before = [connection.execute(f"{query}{level}".encode()).fetchone() for level in LEVELS]
        assert dropped(lakehouse)["crypto_trades"] == ""
        after = [connection.execute(f"{query}{level}".encode()).fetchone() for level in LEVELS]
    assert before == after
    assert before[0] is not None
    assert before[0][0] == 30


def test_a_day_beyond_the_lakes_mark_stays(lakehouse: Lakehouse) -> None:
    lakehouse.journal(stream(50, 5), up=False)
    process = lakehouse.start(TICKLAKE_LAKE_COMMIT_MS="60000")
    with psycopg.connect(lakehouse.dsn, autocommit=True) as connection:
        while (
            connection.execute(
                "SELECT last_frame FROM market.shards WHERE last_frame > 13"
            ).fetchone()
            is None
        ):
            assert process.poll() is None
    process.kill()
    process.communicate()
    assert "not yet in the lake" in dropped(lakehouse)["crypto_trades"]


def test_a_running_query_keeps_its_day_and_is_not_waited_for(lakehouse: Lakehouse) -> None:
    with psycopg.connect(lakehouse.dsn) as reader:
        reader.execute("SELECT count(*) FROM market.crypto_trades")
        assert dropped(lakehouse)["crypto_trades"] == "in use; tried again later"
    assert dropped(lakehouse)["crypto_trades"] == ""


def test_a_lake_rolled_back_after_the_proof_keeps_its_day(lakehouse: Lakehouse) -> None:
    lakehouse.journal(stream(10, 5), up=False)
    assert lakehouse.move() == 0
    before = lakehouse.stored("crypto_trades")

    def roll_back() -> None:
        catalog = open_catalog(lakehouse.dsn, str(lakehouse.folder / "warehouse"))
        table = catalog.load_table((NAMESPACE, "crypto_trades"))
        table.manage_snapshots().rollback_to_snapshot(table.history()[0].snapshot_id).commit()
        catalog.engine.dispose()

    steps = ArmedSteps()
    steps.arm("day.drop", roll_back)
    assert dropped(lakehouse, steps=steps)["crypto_trades"] == "was rolled back since the proof"
    assert days(lakehouse, "crypto_trades") == [DAY]
    assert lakehouse.move() == 0
    assert lakehouse.stored("lake.crypto_trades") == before
    assert dropped(lakehouse)["crypto_trades"] == ""
