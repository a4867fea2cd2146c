"""Processes started for good, and found again by their command line.

A pid in a file says nothing after a crash: the number may belong to a stranger. A process is ours
when its command line, or a mark in its environment, names our home, and only such a process is ever
signalled.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lake.clock import Clock

POLL_S = 0.01
REST, REST_S_MAX = 2, 1.0
"""Between two looks: so many times what the last one took, at most so long."""

LOG_BYTES_MAX = 8 * 2**20
LAUNCH_S_MAX = 30.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# The shell leaves at once, so the server belongs to init and dies with nobody.
LAUNCHER = ("/bin/sh", "-c", '"$@" >&2 & echo $!', "sh")


@dataclass(frozen=True)
class Process:
    """One running process: pid, parent's pid, start (UTC microseconds), words it was called by."""

    pid: int
    parent: int
    since_us: int
    words: tuple[str, ...]


def processes() -> Iterator[Process]:
    """Yield every process that can be seen; zombies have no words and are left out."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            found = read_process(int(name))
            if found is not None:
                yield found


def read_process(pid: int) -> Process | None:
    """Return the process with this pid, or None when it has ended."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    if not raw:
        return None
    words = tuple(word.decode(errors="replace") for word in raw.rstrip(b"\0").split(b"\0"))
    fields = stat.rpartition(")")[2].split()
    return Process(
        pid, int(fields[1]), boot_us() + int(fields[19]) * 1_000_000 // TICKS_PER_S, words
    )


def environment(pid: int) -> dict[str, str]:
    """Return what a process was started with; empty when it has ended or is not ours to look at."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (pair.decode(errors="replace").partition("=") for pair in raw.split(b"\0"))
    return {name: value for name, _, value in pairs if name}


def memory_bytes(pid: int) -> int:
    """Return the memory that a process holds, its part of what it shares; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


@cache
def boot_us() -> int:
    """Return when the machine started, UTC microseconds; whole seconds."""
    lines = Path("/proc/stat").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("btime "))) * 1_000_000


def wait_until(
    clock: Clock, condition: Callable[[], bool], seconds_max: float, every_s: float = POLL_S
) -> bool:
    """Poll until the condition holds; return False when the time is over.

    A look is followed by twice as long a rest, at most a second, so that looking does not hold up
    what is waited for.
    """
    end_us = clock.monotonic_us() + int(seconds_max * 1_000_000)
    while True:
        began_us = clock.monotonic_us()
        if condition():
            return True
        now_us = clock.monotonic_us()
        if now_us >= end_us:
            return False
        rest_s = max(every_s, min(REST_S_MAX, REST * (now_us - began_us) / 1e6))
        clock.sleep(min(rest_s, (end_us - now_us) / 1e6))


def launch(
    words: Sequence[str],
    log: Path,
    *,
    environment: dict[str, str],
) -> int:
    """Start a process that outlives us, its output appended to `log`; return its pid."""
    turn_over(log)
    with log.open("ab") as output:
        done = subprocess.run(
            [*LAUNCHER, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            env=environment,
            cwd="/",
            start_new_session=True,
            timeout=LAUNCH_S_MAX,
            check=True,
        )
    return int(done.stdout)


def turn_over(log: Path) -> None:
    """Move a log that has grown too long aside; one older log is kept."""
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.1"))


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that is gone already is no fault."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def tail(log: Path, lines: int = 5) -> str:
    """Return the last lines of a log, for a message about a server that did not start."""
    if not log.exists():
        return ""
    return " / ".join(log.read_text(errors="replace").splitlines()[-lines:])
