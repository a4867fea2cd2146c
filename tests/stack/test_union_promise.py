"""Both engines keep their promise while everything happens at once; at full size in benchmarks."""

from __future__ import annotations

from pathlib import Path

from lake.verify.verify import verify
from lake.views.publish import publish
from tests.stack.emptied import emptied
from tests.stack.soak import Soak


def test_every_query_sees_what_the_ledger_counts_up_to_its_newest_frame(stack: Path) -> None:
    emptied(stack)
    publish(stack)

    found = Soak(stack, rate=1_500, seconds=20).run()

    assert found["faults"] == [], found
    for engine in ("duckdb", "trino"):
        assert found[engine]["wrong"] == [], engine
        assert found[engine]["queries"] > 1, engine
    assert found["trino_merges"] > 0
    assert found["days_left"] > 0, found
    assert verify(stack).holds
