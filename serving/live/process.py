"""What the processes beside the service have in common: shards, a thread each, and their end."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg

from lake.roles import role_dsn

LOOK_S = 5.0
"""Between two looks for shards that are new."""

AGAIN_S = 1.0
"""Between two looks while there is none, and before whatever failed is tried again."""

CONNECT_S_MAX = 5
GARBAGE_MAX = 10_000
"""New objects from which on Python looks for those that nobody needs; a round makes hundreds."""

SWITCH_S = 0.000_5
"""How long a thread has the interpreter while another waits for it."""

SHARDS_MAX = 64
BESIDE = "beside"
"""The last word of a process that ends where its standard input does."""


def each_shard(
    home: Path,
    keep: Callable[[int], None],
    stop: threading.Event,
    *,
    end_s_max: float,
    log: logging.Logger,
    among: Callable[[int], None] = lambda count: None,
) -> None:
    """Start a thread that keeps each shard of a home (absolute path), until stopped.

    end_s_max: how long each of them is then waited for. among: told of how many shards there are,
    before the threads of new ones start.
    """
    threads: dict[int, threading.Thread] = {}
    while not stop.is_set():
        shards = _shards(home, log)[:SHARDS_MAX]
        if len(shards) > len(threads):
            among(len(shards))
        for shard in shards:
            if shard not in threads and len(threads) < SHARDS_MAX:
                threads[shard] = threading.Thread(target=keep, args=(shard,), daemon=True)
                threads[shard].start()
        stop.wait(LOOK_S if threads else AGAIN_S)
    for thread in threads.values():
        thread.join(end_s_max)


def steady() -> None:
    """Keep pauses short, once all that stays has been made; what waits for a tick is not to wait.

    Python's collector looks through everything now and then, tens of milliseconds with what is
    loaded here: what is there already is left out of that for good. A thread that has the
    interpreter gives it up sooner than after the usual 5 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_MAX, *gc.get_threshold()[1:])
    sys.setswitchinterval(SWITCH_S)


def stops_when_told(stop: threading.Event, *, is_beside: bool) -> None:
    """Set `stop` on a signal to end, and for a process beside another when that one ends."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if is_beside:
        threading.Thread(target=_end_with_input, args=(stop,), daemon=True).start()


def _shards(home: Path, log: logging.Logger) -> list[int]:
    dsn = role_dsn(home, "service")
    try:
        with psycopg.connect(dsn, connect_timeout=CONNECT_S_MAX) as connection:
            found = connection.execute("SELECT shard FROM market.shards ORDER BY 1").fetchall()
    except psycopg.Error as error:
        log.warning("shards: %s", " ".join(str(error).split()))
        return []
    return [int(shard) for (shard,) in found]


def _end_with_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()
