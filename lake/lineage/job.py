"""A job that moves data: what it reads and writes, for its OpenLineage events."""

from __future__ import annotations

from dataclasses import dataclass

HOT, LAKE, JOURNAL = "hot.market", "lake.market", "journal.frames"
"""Where a dataset rests: `hot.market.crypto_trades`, `lake.market.bars`; the journal is one."""

ONLINE = "online.market"
"""Where features rest that are served: in Redis or Valkey, as Feast has them."""


@dataclass(frozen=True, slots=True)
class Job:
    """A mover by name, what it is for, and the data that it reads and writes by where they rest.

    streaming: it never ends by itself, so its runs tell of what they have done so far.
    """

    name: str
    description: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    streaming: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """What a run wrote or read: the data by where they rest, the snapshot, rows if known."""

    name: str
    snapshot_id: int | None = None
    rows: int | None = None


def hot(dataset: str) -> str:
    """Return where a dataset's rows of the hot tier rest."""
    return f"{HOT}.{dataset}"


def lake(dataset: str) -> str:
    """Return where a dataset's rows of the lake rest."""
    return f"{LAKE}.{dataset}"


def online(dataset: str) -> str:
    """Return where a dataset's newest rows are served."""
    return f"{ONLINE}.{dataset}"


def dataset_at(name: str) -> str:
    """Return the dataset that rests under a name."""
    return name.rpartition(".")[2] if name != JOURNAL else JOURNAL
