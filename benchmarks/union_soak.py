"""The union view in both engines under load: exact in every query, and how fresh.

    python benchmarks/union_soak.py --home HOME [--rate 50000] [--seconds 300]
        [--pause 0] [--window 10] [--json]

HOME's stack is up (`ticklake up --profile stack`), is for tests only, and is emptied first. Three
shards, one started in between; files are merged by Trino and by us, days leave hot meanwhile. Each
engine is asked in a loop for rows, newest row and its age per shard over all trades, and every
answer is held against the ledger. A query reads what came since the answer of --window seconds
ago, as a desk or a dashboard asks; one in fifty, and the last, reads every row (--window 0: all
do, which on two cores takes the time that ingest needs). Goals: nothing wrong; fresh p99 1 s in
DuckDB, 2 s in Trino: the age of the newest row of the shard that is furthest behind when an answer
has come, over all answers while events come. Ends with 1 where an answer was wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the soak lies with the tests

from lake.views.publish import publish  # noqa: E402
from tests.stack.emptied import emptied  # noqa: E402
from tests.stack.soak import Soak  # noqa: E402

GOALS_S = {"duckdb": 1.0, "trino": 2.0}


def main() -> int:
    """Soak and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--rate", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--pause", type=float, default=0, help="seconds between two queries")
    parser.add_argument("--window", type=float, default=10, help="seconds; 0: read every row")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    home = options.home.resolve()
    emptied(home)
    publish(home)
    found = Soak(
        home,
        rate=options.rate,
        seconds=options.seconds,
        pause_s=options.pause,
        window_s=options.window or None,
    ).run()
    if options.json:
        print(json.dumps(found))
    else:
        print(f"{found['rate']:,} events/s for {found['seconds']:.0f} s over three shards")
        for engine, goal_s in GOALS_S.items():
            seen = found[engine]
            print(
                f"{engine:8} {seen['queries']:5,} queries, {len(seen['wrong'])} wrong; fresh p50"
                f" {seen['fresh_s']['p50']} s, p99 {seen['fresh_s']['p99']} s (goal {goal_s} s);"
                f" took p50 {seen['took_s']['p50']} s, p99 {seen['took_s']['p99']} s;"
                f" {seen['whole_queries']} of every row, p50 {seen['whole_took_s']['p50']} s"
            )
        print(
            f"merged {found['trino_merges']} times by Trino, {found['merges']} by us,"
            f" {found['lost_races']} races lost; {found['days_left']} days left hot"
        )
        for line in [*found["faults"], *found["duckdb"]["wrong"], *found["trino"]["wrong"]][:20]:
            print(f"wrong: {line}")
    return int(any((found["faults"], found["duckdb"]["wrong"], found["trino"]["wrong"])))


if __name__ == "__main__":
    sys.exit(main())
