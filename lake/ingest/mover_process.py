"""Run a mover as a process of its own: `python -m lake.ingest.mover_process`.

The first line of standard input is the place as JSON; a later line `drain` asks it to finish, and
the end of input (the parent died) does too. Standard output gets one JSON object a line: first
{"shard": n} once the shard is ours, then progress; the last says how it ended.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.exc import OperationalError

from lake.clock import Clock, SystemClock
from lake.errors import TicklakeError, Unavailable
from lake.hot.lease import Lease, shard_lease, take
from lake.ingest.claim import claim, leave
from lake.ingest.codecs import codecs
from lake.ingest.mover import Mover
from lake.ingest.mover_context import Access, MoverContext, MoverPlace
from lake.ingest.recent_batches import RecentBatches
from lake.lineage.destination import NAMESPACE
from lake.settings import from_env
from lake.state import remedy
from lake.steps import Steps
from lake.tables.warehouse_io import ready
from lake.views.client import with_application
from lake.warehouse import warehouse_at

PROGRESS_S = 0.25
APPLICATION = "ticklake-mover"
UNAVAILABLE = {"kind": "Unavailable"}
HANDOVER_S_MAX = 50.0
HANDOVER_LOOK_S = 0.1
SHARDS_MAX = 64
"""Shards of one lake; each is a process with a journal of its own."""


def main() -> int:
    """Move until drained; return the exit code."""
    order = json.loads(sys.stdin.readline())
    settings = from_env(os.environ)
    try:
        dsn = with_application(order["dsn"], APPLICATION)
        clock = SystemClock()
        warehouse = warehouse_at(order["warehouse"])
        ready(_access(order, "commit").warehouse)
        shard, lease = _own_shard(dsn, order["claims"], clock, order.get("shard"))
        say({"shard": shard, "epoch": lease.epoch})
        place = MoverPlace(
            dsn,
            warehouse,
            Path(order["journal"]) / f"shard-{shard}",
            shard,
            _access(order, "commit"),
            _access(order, "keep"),
            order.get("trino"),
            order.get("namespace", NAMESPACE),
        )
        context = MoverContext(
            place,
            lease,
            codecs(),
            settings,
            clock,
            Steps.parse(settings.fault_plan),
            RecentBatches(shard),
        )
        _listen(context)
        reporting = _report(context)
        Mover(context).run()
    except (psycopg.OperationalError, OperationalError) as error:
        text = str(error).strip().splitlines()[0]
        say({"fault": ["hot tier", text, remedy(text, "start it: ticklake up")], **UNAVAILABLE})
        return 1
    except OSError as error:
        fault = [str(error.filename or "warehouse"), str(error.strerror or error)]
        say({"fault": [*fault, "make it a folder we may write to"], **UNAVAILABLE})
        return 1
    except TicklakeError as error:
        say({"fault": [error.thing, error.fault, error.remedy], "kind": type(error).__name__})
        return 1
    context.stop.set()
    reporting.join()  # its lines say nothing of the end, so the end must be the last line
    say({"progress": asdict(context.progress), "drained": True})
    return 0


def say(message: object) -> None:
    """Write one line for the parent."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _access(order: dict[str, Any], part: str) -> Access:
    """Return how a part connects; as the writer does where the order does not say."""
    found = order.get(part, order)
    return Access(with_application(found["dsn"], APPLICATION), warehouse_at(found["warehouse"]))


def _own_shard(
    dsn: str, claims: list[str], clock: Clock, only: int | None = None
) -> tuple[int, Lease]:
    """Take the first shard that nobody owns, or only that one, with these claims on it.

    A predecessor that still drains one of them is waited for: its ingest has ended or was killed.
    """
    end_us = clock.monotonic_us() + int(HANDOVER_S_MAX * 1e6)
    with psycopg.connect(dsn, autocommit=True) as connection:
        while clock.monotonic_us() < end_us:
            for shard in range(SHARDS_MAX) if only is None else (only,):
                lease = take(connection, shard_lease(shard))
                if lease is None:
                    continue
                if claim(connection, shard, lease, claims):
                    return shard, lease
                break
            else:
                if only is None:
                    raise Unavailable(
                        "shards", f"all {SHARDS_MAX} are owned", "stop another ingest"
                    )
            clock.sleep(HANDOVER_LOOK_S)
    raise Unavailable(
        f"shard {shard}",
        f"an earlier ingest of the same still moves its journal after {HANDOVER_S_MAX:.0f} s",
        "start again when it has ended",
    )


def _listen(context: MoverContext) -> None:
    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == "drain":
                break
        context.drain.set()
        with suppress(psycopg.Error), psycopg.connect(context.place.dsn) as connection:
            leave(connection, context.lease)

    threading.Thread(target=listen, daemon=True).start()


def _report(context: MoverContext) -> threading.Thread:
    def report() -> None:
        while not context.stop.wait(PROGRESS_S):
            context.progress.at_us = context.clock.now_us()
            say({"progress": asdict(context.progress)})

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    return thread


if __name__ == "__main__":
    sys.exit(main())
