"""Seeded fault runs of the whole path in one process, an oracle after each.

    python benchmarks/chaos.py [--seeds 1000] [--first 0] [--json]

Each seed is a schedule of frames, flushes, crashes at named steps, power cuts, failed fsyncs, full
disks, lost answers, stale writers and committers, foreign rollbacks, merges and drops. A failing
seed is printed with its schedule, one action a line, and ends the run with 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the simulation lies with the tests

from infra.servers.postgres_server import PostgresServer  # noqa: E402
from lake.clock import SystemClock  # noqa: E402
from lake.hot.migrations import migrate  # noqa: E402
from tests.conftest import PASSWORD, Databases  # noqa: E402
from tests.path.chaos.campaign import Campaign  # noqa: E402


def main() -> int:
    """Run the seeds and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        (home / "log").mkdir(parents=True)
        server = PostgresServer(home, SystemClock())
        try:
            databases = Databases(server.up(None, PASSWORD))
            migrated = databases.create()
            with psycopg.connect(databases.dsn(migrated)) as connection:
                migrate(connection)
            campaign = Campaign(databases, migrated, Path(folder))
            for seed in range(options.first, options.first + options.seeds):
                failure = campaign.run(seed)
                if failure is not None:
                    print(f"seed {seed}: {failure.what}\n{failure.trace}", file=sys.stderr)
                    for action in failure.actions:
                        print(json.dumps(action))
                    return 1
        finally:
            server.down()
    found = {
        "seeds": options.seeds,
        "first": options.first,
        "failures": 0,
        "seconds": round(time.monotonic() - started, 1),
        "met": dict(sorted(campaign.tally.items())),
    }
    print(json.dumps(found, indent=None if options.json else 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
