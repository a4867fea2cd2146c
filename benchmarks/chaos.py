"""Seeded fault runs of the whole path in one process, an oracle after each.

    python benchmarks/chaos.py [--seeds 1000] [--first 0] [--shorten] [--json]

Each seed is a schedule of frames, flushes, crashes at named steps, power cuts, failed fsyncs, full
disks, lost answers, stale writers and committers, foreign rollbacks, merges and drops. A failing
seed is printed with its schedule, one action a line (a file for tests/path/chaos/kept), and ends
the run with 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the simulation lies with the tests

from tests.path.chaos.campaign import Campaign, Failure  # noqa: E402
from tests.path.chaos.workplace import opened_campaign  # noqa: E402


def main() -> int:
    """Run the seeds and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--shorten", action="store_true", help="leave out what a failure can spare")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    started = time.monotonic()
    with opened_campaign() as campaign:
        failure = _first_failure(campaign, range(options.first, options.first + options.seeds))
        if failure is not None:
            _print(campaign.shortened(failure) if options.shorten else failure)
            return 1
    found = {
        "seeds": options.seeds,
        "first": options.first,
        "failures": 0,
        "seconds": round(time.monotonic() - started, 1),
        "met": dict(sorted(campaign.tally.items())),
    }
    print(json.dumps(found, indent=None if options.json else 2))
    return 0


def _first_failure(campaign: Campaign, seeds: range) -> Failure | None:
    return next((found for seed in seeds if (found := campaign.run(seed)) is not None), None)


def _print(failure: Failure) -> None:
    print(f"seed {failure.seed}: {failure.what}\n{failure.trace}", file=sys.stderr)
    for action in failure.actions:
        print(json.dumps(action))


if __name__ == "__main__":
    sys.exit(main())
