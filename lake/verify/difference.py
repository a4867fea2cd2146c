"""From a unit that differs to the ticker, the minute and the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lake import ledger
from lake.contracts.contract import load
from lake.verify.reading import MINUTE_US, Reading
from lake.verify.report import Fault, Tier
from lake.verify.totals import Totals
from lake.views.engine import quote

MINUTES_COMPARED_MAX = 20
"""Faulty minutes of a unit whose rows are compared one by one."""

ROWS_NAMED_MAX = 5
"""Keys of differing rows that a fault names."""


@dataclass(frozen=True, slots=True)
class Side:
    """Rows of a dataset in one tier: an SQL relation with a condition on shard and seq."""

    relation: str
    where: str = "true"


def minute_faults(
    reading: Reading,
    tier: Tier,
    dataset: str,
    where: str,
    expected: Mapping[tuple[str, int], Totals],
    mine: Side,
    compared: tuple[Side, Side] | None,
) -> list[Fault]:
    """Return a fault per ticker and minute where `mine` differs from the ledger's expectation.

    compared: rows of this tier and the same ones in the other, where both have them; names rows.
    """
    actual = reading.minutes(dataset, mine.relation, mine.where)
    keys = sorted(
        key
        for key in expected.keys() | actual.keys()
        if expected.get(key, Totals()) != actual.get(key, Totals())
    )
    faults = []
    for i, key in enumerate(keys):
        rows: tuple[str, ...] = ()
        if compared and i < MINUTES_COMPARED_MAX:
            rows = tuple(_rows(reading, dataset, key, *compared))
        totals = expected.get(key, Totals()), actual.get(key, Totals())
        faults.append(difference_fault(tier, dataset, where, *totals, key=key, rows=rows))
    return faults


def difference_fault(
    tier: Tier,
    dataset: str,
    where: str,
    expected: Totals,
    actual: Totals,
    *,
    key: tuple[str | None, int | None] = (None, None),
    rows: tuple[str, ...] = (),
) -> Fault:
    """Return the fault of a place whose totals differ; key: its ticker and minute, where known."""
    lost = max(0, expected.rows - actual.rows)
    extra = max(0, actual.rows - expected.rows)
    if lost:
        what = f"{lost:,} of {expected.rows:,} rows lost"
    elif extra:
        what = f"{extra:,} rows beyond the {expected.rows:,} of the ledger"
    else:
        what = f"{expected.rows:,} rows, of which some are not as they were written"
    changed = not lost and not extra
    return Fault(tier, dataset, where, what, *key, lost, extra, rows, changed)


def _rows(
    reading: Reading, dataset: str, key: tuple[str, int], mine: Side, other: Side
) -> Iterator[str]:
    contract = load(dataset)
    ticker, minute = key
    low, high = (f"make_timestamptz({us})" for us in (minute, minute + MINUTE_US))
    within = (
        f"{contract.ledger_ticker} = {quote(ticker)} AND {contract.ledger_time} >= {low} "
        f"AND {contract.ledger_time} < {high}"
    )
    here, there = (
        f"(SELECT shard, seq, {ledger.digest_slice(dataset, 'duckdb')} AS slice "
        f"FROM {side.relation} WHERE {within} AND ({side.where}))"
        for side in (mine, other)
    )
    found = reading.duckdb.execute(
        "SELECT coalesce(a.shard, b.shard), coalesce(a.seq, b.seq), a.seq IS NULL, b.seq IS NULL "
        f"FROM {here} AS a FULL JOIN {there} AS b ON a.shard = b.shard AND a.seq = b.seq "
        "WHERE a.slice IS DISTINCT FROM b.slice ORDER BY 1, 2 "
        f"LIMIT {ROWS_NAMED_MAX}"
    ).fetchall()
    for shard, seq, missing, added in found:
        word = "missing" if missing else "added" if added else "changed"
        yield f"{word} shard {shard} seq {seq}"
