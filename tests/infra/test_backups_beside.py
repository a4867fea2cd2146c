"""Who backs up a database in another container: what it is told, and what it does without."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.cluster import restore
from infra.cluster.backups import BEAT, Rounds
from infra.cluster.remote import WANTED, RemotePostgres, place_from
from lake.clock import SystemClock
from lake.errors import BadInput, Unavailable, WrongUse

CLOCK = SystemClock()
SCRIPT = Path(__file__).resolve().parents[2] / "infra" / "config" / "postgres" / "recover.sh"
GIVEN = {**dict.fromkeys(WANTED, "here"), "S3_ENDPOINT": "http://127.0.0.1:9"}
SEGMENT = "000000010000000000000001"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    found = tmp_path / "archive" / "wal"
    found.mkdir(parents=True)
    (found / SEGMENT).write_text("log")
    return found


def test_where_backups_are_off_the_log_is_thrown_away_and_left_to_others_where_it_is_theirs(
    spool: Path,
) -> None:
    (spool.parent / "base-killed").mkdir()
    Rounds({"TICKLAKE_BACKUP": "others"}, CLOCK, spool).round()
    assert [path.name for path in spool.iterdir()] == [SEGMENT]
    Rounds({"TICKLAKE_BACKUP": "off"}, CLOCK, spool).round()
    assert list(spool.iterdir()) == []
    assert [path.name for path in spool.parent.iterdir() if path != spool] == [BEAT]


@pytest.mark.parametrize("missing", WANTED)
def test_a_variable_that_is_missing_is_named(missing: str) -> None:
    with pytest.raises(BadInput, match=f"^{missing}: is not set: "):
        place_from({**GIVEN, missing: ""}, "s3://backups/hot")


def test_a_folder_is_no_place_of_a_container_s_backups() -> None:
    with pytest.raises(BadInput, match="'/backups' is no bucket"):
        place_from(GIVEN, "/backups")


def test_a_program_that_is_not_installed_is_named() -> None:
    with pytest.raises(Unavailable, match=r"^pg_basebackup: is not here"):
        RemotePostgres({"PATH": "/nowhere"}).run("pg_basebackup", seconds_max=1)


def test_a_restore_without_a_moment_touches_nothing(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match=r"^RESTORE_TO: is not set"):
        restore.lay_out_from_env(GIVEN)
    done = subprocess.run(
        ["sh", str(SCRIPT)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PGDATA": str(tmp_path)},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "name RESTORE_TO" in done.stderr


def test_what_the_server_is_to_do_is_written_whole(tmp_path: Path) -> None:
    own = tmp_path / restore.CONFIGURATION
    own.write_text("# its own\n")
    moment = datetime(2026, 11, 25, 16, 20, tzinfo=UTC)
    restore.write_plan(tmp_path, moment, {0: 61}, {"restore_command": "cp '/a b/%f' %p"})
    assert "restore_command = 'cp ''/a b/%f'' %p'\n" in own.read_text()
    assert "recovery_target_time = '2026-11-25T16:20:00+00:00'\n" in own.read_text()
    assert (tmp_path / "postgresql.auto.own").read_text() == "# its own\n"
    assert (tmp_path / "recovery.signal").exists()
    said = (tmp_path / restore.STATEMENT).read_text()
    assert said.startswith("SELECT market.begin_incarnation(greatest(")
    assert said.endswith("""'2026-11-25T16:20:00+00:00'::timestamptz, '{"0": 61}'::jsonb);\n""")
