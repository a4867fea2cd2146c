"""No secret of the stack stands in a command line or a log, and its files are their owner's."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from infra.servers.process import processes
from lake.state import read_state
from tests.infra.test_secrets import held_by

KEPT = ("run", "tls", "keys")
"""Folders whose files hold secrets."""

LOG_BYTES_MAX = 64 << 20


def secrets_of(home: Path) -> set[str]:
    """Return every password and key of the home."""
    words = json.loads((home / "run" / "passwords.json").read_text())
    found = {str(each) for each in words.values()} | {str(read_state(home)["s3"]["secret_key"])}
    assert len(found) > 10
    assert all(len(each) >= 16 for each in found)
    return found


def test_no_command_line_has_one(stack: Path) -> None:
    known = secrets_of(stack)
    lines = [" ".join(each.words) for each in processes()]
    assert any("minio" in line for line in lines)
    assert [line for line in lines if any(each in line for each in known)] == []


def test_no_log_has_one_and_what_holds_them_is_its_owners(stack: Path) -> None:
    known = [each.encode() for each in secrets_of(stack)]
    logs = [path for path in (stack / "log").rglob("*") if path.is_file()]
    assert len(logs) > 3
    for path in logs:
        text = b""
        with suppress(FileNotFoundError), path.open("rb") as file:  # one may go meanwhile
            text = file.read(LOG_BYTES_MAX)
        assert [path for each in known if each in text] == []
    for folder in KEPT:
        for path in held_by(stack / folder, known):
            assert path.stat().st_mode & 0o077 == 0, path
