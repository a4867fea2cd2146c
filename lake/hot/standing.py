"""Where the hot tier stands: frames, leases, gaps, the last proof, bytes; one look, by counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg

from lake.database import with_options
from lake.errors import Unavailable
from lake.hot.incidents import Waiting, waiting
from lake.hot.promises import Month, standings, this_month
from lake.hot.promises import Standing as PromiseStanding
from lake.state import remedy

CONNECT_S_MAX = 2
LOOK_MS_MAX = 2_000
"""A look that takes longer is given up by the server: watching must not add to its load."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What the newest run of `verify` found; ran_at in UTC."""

    ran_at: datetime
    took_ms: int
    holds: bool
    lost: int
    duplicated: int


@dataclass(frozen=True, slots=True)
class OrderAudit:
    """The newest audit of orders: when (UTC), whether it held, percent of rows traced to events."""

    ran_at: datetime
    holds: bool
    percent: float


@dataclass(frozen=True, slots=True)
class Tiers:
    """What retention measured last: (tier, dataset) -> bytes; tier -> dollars a month.

    modelled: what events_per_s, the rate of the day before, costs in the long run.
    """

    bytes: Mapping[tuple[str, str], int]
    dollars: Mapping[str, float]
    events_per_s: int
    modelled: float
    budget: float

    def line(self) -> str:
        """Return it in words."""
        return (
            f"{sum(self.dollars.values()):,.2f} $ a month stored, {self.modelled:,.0f} $ modelled"
            f" at {self.events_per_s:,} events/s, budget {self.budget:,.0f} $"
        )


@dataclass(frozen=True, slots=True)
class BackupStanding:
    """Of a home with backups: base backups, when the newest ended (UTC) and its age; bytes of the
    database's log that do not rest with them yet.
    """

    count: int
    newest_at: datetime | None
    age_s: float | None
    log_bytes_behind: int


@dataclass(frozen=True, slots=True)
class Backfills:
    """What was asked of histories and files, under way and done; rows that they gave, and of them
    those in quarantine, since they contradict what is held or were refused.
    """

    under_way: int = 0
    done: int = 0
    given: int = 0
    contradicting: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """frames: shard -> last frame in hot. marks: shard -> last frame of the lake's newest commit.

    epochs: lease -> epoch. gaps: (feed, kind) -> open ones. bytes: of the whole database.
    promises: how each stood when last measured; months: this month of each. waiting: receivers of
    alerts that could not be reached. tiers: None before retention has run. backup: None where they
    are off. backfills: all that there were.
    """

    frames: Mapping[int, int]
    marks: Mapping[int, int]
    epochs: Mapping[str, int]
    gaps: Mapping[tuple[str, str], int]
    proof: Proof | None
    bytes: int
    promises: Sequence[PromiseStanding] = ()
    months: Sequence[Month] = ()
    waiting: Sequence[Waiting] = ()
    tiers: Tiers | None = None
    backup: BackupStanding | None = None
    backfills: Backfills = Backfills()
    order_audit: OrderAudit | None = None


def standing(dsn: str) -> Standing:
    """Return where a migrated hot tier stands; Unavailable when it can't say so in time."""
    address = with_options(dsn, statement_timeout=LOOK_MS_MAX)
    try:
        with psycopg.connect(address, connect_timeout=CONNECT_S_MAX) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            run = connection.execute
            proof = run(_PROOF).fetchone()
            size = run("SELECT pg_database_size(current_database())").fetchone()
            return Standing(
                dict(run("SELECT shard, last_frame FROM market.shards").fetchall()),
                newest_through(connection),
                dict(run("SELECT name, epoch FROM market.leases").fetchall()),
                {(feed, kind): count for feed, kind, count in run(_GAPS)},
                Proof(*proof) if proof else None,
                int(size[0]) if size else 0,
                standings(connection),
                this_month(connection),
                waiting(connection),
                _tiers(run(_TIERS).fetchall()),
                _backup(connection),
                Backfills(*(run(_BACKFILLS).fetchone() or ())),
                OrderAudit(*audited) if (audited := run(_ORDER_AUDIT).fetchone()) else None,
            )
    except psycopg.Error as error:
        fault = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unavailable("hot tier", fault, remedy(fault, "is the server up?")) from error


def _tiers(rows: list[tuple[str, str, int, int, float]]) -> Tiers | None:
    """Sort out the newest measurement; the model's two rows stand among the tiers'."""
    if not rows:
        return None
    sizes: dict[tuple[str, str], int] = {}
    dollars: dict[str, float] = {}
    model: dict[str, tuple[int, float]] = {"modelled": (0, 0.0), "budget": (0, 0.0)}
    for tier, dataset, count, size, price in rows:
        if tier in model:
            model[tier] = count, float(price)
            continue
        sizes[tier, dataset] = size
        dollars[tier] = dollars.get(tier, 0.0) + float(price)
    return Tiers(sizes, dollars, *model["modelled"], model["budget"][1])


def newest_through(connection: psycopg.Connection) -> dict[int, int]:
    """Return shard -> the last frame that the lake's newest noted commit was to hold.

    For lags: a commit that is still under way counts as done, so it says too much by one commit.
    """
    row = connection.execute(_MARKS).fetchone()
    return {int(shard): int(frame) for shard, frame in row[0].items()} if row else {}


def _backup(connection: psycopg.Connection) -> BackupStanding | None:
    row = connection.execute(_BACKUP).fetchone()
    return BackupStanding(*row) if row else None


_BACKUP = """
SELECT (SELECT count(*) FROM market.backups), (SELECT max(ended_at) FROM market.backups),
    (SELECT extract(epoch FROM now() - max(ended_at)) FROM market.backups)::double precision,
    greatest(0, pg_current_wal_lsn() - coalesce(market.safe_upto(), '0/0'))::bigint
FROM market.recovery WHERE place <> 'others'
"""

_MARKS = (
    "SELECT through FROM market.lake_marks WHERE dataset = 'ingest_batches'"
    " ORDER BY noted_at DESC LIMIT 1"
)
"""Of the table that is committed last: what it holds, the others hold too."""

_PROOF = (
    "SELECT ran_at, took_ms, holds, lost, duplicated FROM market.verify_runs"
    " ORDER BY ran_at DESC LIMIT 1"
)
_ORDER_AUDIT = """
SELECT ran_at, holds, (result::jsonb ->> 'coverage_percent')::double precision
FROM market.audits WHERE result::jsonb ->> 'what' = 'orders' ORDER BY number DESC LIMIT 1
"""
_TIERS = (
    "SELECT tier, dataset, rows, bytes, dollars_month FROM market.tier_sizes"
    " WHERE measured_at = (SELECT max(measured_at) FROM market.tier_sizes)"
)
_BACKFILLS = """
SELECT count(*) FILTER (WHERE NOT done), count(*) FILTER (WHERE done),
    coalesce(sum(rows), 0)::bigint, coalesce(sum(contradicting), 0)::bigint,
    coalesce(sum(refused), 0)::bigint
FROM market.backfills
"""
_GAPS = """
SELECT feed, kind, count(*) FROM (
  SELECT DISTINCT ON (shard, gap_id) feed, kind, closed_time FROM market.feed_gaps
  ORDER BY shard, gap_id, seq DESC
) AS now WHERE closed_time IS NULL GROUP BY 1, 2
"""
