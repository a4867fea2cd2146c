"""No secret of a home stands where others read: in command lines, logs, or what verbs print."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from infra.servers import embedded, ports
from infra.servers.process import processes, wait_until
from lake.clock import SystemClock
from tests.infra.test_metrics import run, start

ROOT = Path(__file__).resolve().parents[2]
CLOCK = SystemClock()
WAIT_S_MAX = 180.0
FEED_KEY = "a-feed-key-that-nobody-is-to-see"
MAY_HOLD = {"run/passwords.json", "run/state.json", "valkey/valkey.conf"}
"""Files that hold secrets, for their owner alone; whatever else does is a fault."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a home in which everything has run: servers, ingest, the live half."""
    home = tmp_path_factory.mktemp("secrets").resolve() / "home"
    words = ("--home", str(home))
    os.environ["TICKLAKE_MASSIVE_API_KEY"] = FEED_KEY
    with ExitStack() as stack:
        stack.callback(os.environ.pop, "TICKLAKE_MASSIVE_API_KEY")
        embedded.up(home)
        stack.callback(embedded.down, home)
        start(stack, "sim", "--rate", "500", "--port", "0", "--for", "2h", *words)
        assert wait_until(CLOCK, (home / "run" / "sim.json").exists, WAIT_S_MAX)
        start(stack, "ingest", "sim", *words)
        start(stack, "live", "--port", str(ports.choose(None)), *words)
        assert wait_until(CLOCK, (home / "run" / "live" / "worker.json").exists, WAIT_S_MAX)
        yield home


def secrets_of(home: Path) -> set[str]:
    """Return every password and key of a home."""
    words = json.loads((home / "run" / "passwords.json").read_text())
    found = {FEED_KEY, *map(str, words.values())}
    assert len(found) > 5
    assert all(len(each) >= 16 for each in found)
    return found


def held_by(home: Path, known: Sequence[bytes]) -> Iterator[Path]:
    """Yield the files that hold any of these; a home at work removes some while they are read."""
    for folder, _, names in os.walk(home):
        for path in (Path(folder, name) for name in names):
            with suppress(FileNotFoundError):
                if path.is_file() and any(each in path.read_bytes() for each in known):
                    yield path


def test_no_command_line_has_one(home: Path) -> None:
    known = secrets_of(home)
    lines = {each.pid: " ".join(each.words) for each in processes()}
    assert any(str(home) in line for line in lines.values())
    assert [line for line in lines.values() if any(each in line for each in known)] == []


def test_no_file_has_one_but_those_for_them_and_nobody_else_reads_these(home: Path) -> None:
    known = [each.encode() for each in secrets_of(home)]
    holding, open_to_others = [], []
    for path in held_by(home, known):
        holding.append(str(path.relative_to(home)))
        if path.stat().st_mode & 0o077:
            open_to_others.append(str(path))
    logs = [path for path in (home / "log").rglob("*") if path.is_file()]
    assert logs
    assert set(holding) == MAY_HOLD
    assert open_to_others == []


def test_no_verb_prints_one_and_an_api_key_is_shown_once(home: Path) -> None:
    words = ("--home", str(home))
    key = json.loads(run("keys", "add", "a trader", "--role", "trade", "--json", *words).stdout)[
        "key"
    ]
    known = {*secrets_of(home), key}
    for verb in (("status",), ("status", "--json"), ("keys", "list", "--json"), ("roles",)):
        done = run(*verb, *words)
        said = done.stdout + done.stderr
        assert said
        assert [each for each in known if each in said] == [], verb
    assert list(held_by(home, [key.encode()])) == []
