"""`ticklake demo` on real servers: it shows the main job, proves it, and leaves nothing running."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from infra.servers import embedded
from infra.servers.process import processes, wait_until
from lake.clock import SystemClock

CLOCK = SystemClock()
SHORT = ("--for", "8s", "--rate", "4k")
DEMO_S_MAX = 240
START_S_MAX = 120
PNG_HEAD = b"\x89PNG\r\n\x1a\n"
INTERRUPTED = 130
HEARD = "journal/shard-0/last_heard.json"
"""Is there once something of the exchange is durable."""


def start(home: Path, *words: str) -> subprocess.Popen[str]:
    """Start a demo without recordings, where there is no terminal."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TICKLAKE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "infra.command.main", "demo", "--home", str(home), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )


def running(home: Path) -> list[tuple[str, ...]]:
    """Return what runs of this home, or with its folder in its words."""
    found = [p.words for p in processes() if any(str(home) in word for word in p.words)]
    up = embedded.status(home / "demo")
    return [tuple(words) for words in found] + [(name,) for name in up if up[name]["running"]]


def assert_png(path: Path) -> None:
    raw = path.read_bytes()
    assert raw.startswith(PNG_HEAD)
    assert b"IEND" in raw[-12:]
    width, height = struct.unpack(">II", raw[16:24])
    assert width > 1_000
    assert height > 500


def test_it_shows_the_main_job_in_plain_lines_proves_it_and_leaves_nothing_running(
    tmp_path: Path,
) -> None:
    demo = start(tmp_path, *SHORT)
    out, err = demo.communicate(timeout=DEMO_S_MAX)
    assert demo.returncode == 0, err
    for heading in ("Servers", "Ingest for 8 s", "moved most?", "cost", "Candles of", "Verify"):
        assert heading in out
    assert out.count(" rows in ") == 3
    assert " events, 0 lost, 0 duplicated\n" in out
    assert f"sql --home {tmp_path / 'demo'}" in out
    assert "\x1b" not in out + err  # there is no terminal: plain lines
    assert "\r" not in out + err
    assert [line for line in out.splitlines() if line != line.rstrip()] == []
    assert_png(tmp_path / "demo" / "candles.png")
    assert running(tmp_path) == []
    assert (tmp_path / "demo" / "warehouse").is_dir()  # kept, as its help says


def test_with_live_a_strategy_trades_and_its_decisions_are_the_same_again(tmp_path: Path) -> None:
    demo = start(tmp_path, "--live", "--json")  # as one who tries it would
    out, err = demo.communicate(timeout=DEMO_S_MAX)
    assert demo.returncode == 0, err
    said = json.loads(out)
    assert said["ledger"]["events"] > 0
    assert said["ledger"]["faults"] == []
    assert sum(each["orders"] for each in said["sessions"]) > 0
    assert all(each["against"] and not each["differs"] for each in said["sessions"])
    assert "live        http://127.0.0.1:" in err
    assert running(tmp_path) == []


def test_its_document_says_what_became_of_every_event_and_the_answers(tmp_path: Path) -> None:
    demo = start(tmp_path, *SHORT, "--json")
    out, err = demo.communicate(timeout=DEMO_S_MAX)
    assert demo.returncode == 0, err
    document = json.loads(out)
    books = document["books"]
    classes = [books["stored"], books["duplicate"], books["quarantined"]]
    assert sum(classes) + sum(books["ignored"].values()) == document["events"]
    assert document["verify"]["holds"]
    assert document["verify"]["events"] == document["events"] > 2 * 4_000
    movers, costs, candles = (each["rows"] for each in document["questions"])
    assert len({row["ticker"] for row in movers}) == 5
    assert len(costs) == 5
    assert sum(row["trades"] for row in candles) > 0


def test_servers_that_ran_before_or_are_to_be_kept_stay(tmp_path: Path) -> None:
    try:
        demo = start(tmp_path, *SHORT, "--keep")
        out, err = demo.communicate(timeout=DEMO_S_MAX)
        assert demo.returncode == 0, err
        assert f"down --home {tmp_path / 'demo'}" in out
        assert all(each["running"] for each in embedded.status(tmp_path / "demo").values())
    finally:
        embedded.down(tmp_path / "demo")


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("log", signal.SIGINT),
        ("run/state.json", signal.SIGINT),
        ("run/sim.json", signal.SIGINT),
        (HEARD, signal.SIGINT),
        (HEARD, signal.SIGTERM),
        (HEARD, signal.SIGHUP),
    ],
)
def test_a_signal_in_the_middle_leaves_nothing_running(
    tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    demo = start(tmp_path, "--for", "600s", "--rate", "2k")
    place = tmp_path / "demo" / moment
    assert wait_until(CLOCK, place.exists, START_S_MAX)
    demo.send_signal(number)
    _, err = demo.communicate(timeout=DEMO_S_MAX)
    assert (demo.returncode, err.splitlines()[-1]) == (INTERRUPTED, "ticklake: stopped")
    assert "Traceback" not in err
    assert running(tmp_path) == []


def test_what_came_before_a_ctrl_c_is_whole_and_the_next_demo_goes_on_from_it(
    tmp_path: Path,
) -> None:
    demo = start(tmp_path, "--for", "600s", "--rate", "2k")
    assert wait_until(CLOCK, (tmp_path / "demo" / HEARD).exists, START_S_MAX)
    CLOCK.sleep(1.0)
    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=DEMO_S_MAX)
    again = start(tmp_path, *SHORT)
    out, err = again.communicate(timeout=DEMO_S_MAX)
    assert again.returncode == 0, err
    assert ", 0 lost, 0 duplicated\n" in out
    assert " of them from earlier demos\n" in out


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--for", "1s"], "--for: 1 s is out of bounds: use 2s to 3600s"),
        (["--rate", "9M"], "rate"),
        (["--for", "soon"], "'soon' is no time"),
    ],
)
def test_a_wrong_option_starts_nothing(tmp_path: Path, words: list[str], fault: str) -> None:
    demo = start(tmp_path / "home", *words)
    out, err = demo.communicate(timeout=DEMO_S_MAX)
    assert (demo.returncode, out) == (2, "")
    assert fault in err
    assert not (tmp_path / "home").exists()
