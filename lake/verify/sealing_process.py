"""Seal what is due as a process of its own: `python -m lake.verify.sealing_process`.

The order is one JSON line on standard input; the answer is one on standard output: how many
segments went, and the first that stays with the reason, or the fault that was in the way. It takes
nothing from anybody: lowest priority, a few segments at once, and it may be killed at any point.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import psycopg

from lake.clock import SystemClock
from lake.errors import TicklakeError
from lake.ingest.codecs import codecs
from lake.verify.journal_to_sealed import seal_due
from lake.views.client import with_application
from lake.warehouse import warehouse_at

APPLICATION = "ticklake-sealer"
LOWEST_PRIORITY = 19


def main() -> int:
    """Seal what is due; return the exit code."""
    order = json.loads(sys.stdin.readline())
    os.nice(LOWEST_PRIORITY)
    try:
        answer = seal(order)
    except (psycopg.Error, TicklakeError, OSError) as error:
        answer = {"deleted": 0, "kept": (str(error).strip().splitlines() or ["unknown"])[0]}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def seal(order: dict[str, Any]) -> dict[str, Any]:
    """Carry an order out: dsn, warehouse, journal, keep_hours, bytes_max, at_once_max."""
    dsn = with_application(order["dsn"], APPLICATION)
    limits = {name: order[name] for name in ("keep_hours", "bytes_max", "at_once_max")}
    with psycopg.connect(dsn, autocommit=True) as connection:
        sealed = seal_due(
            connection,
            dsn,
            Path(order["journal"]),
            codecs(),
            SystemClock(),
            warehouse=warehouse_at(order["warehouse"]),
            **limits,
        )
    kept = [f"{each.path} stays: {each.reason}" for each in sealed if not each.deleted]
    return {"deleted": sum(each.deleted for each in sealed), "kept": kept[0] if kept else ""}


if __name__ == "__main__":
    sys.exit(main())
