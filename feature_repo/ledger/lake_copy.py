"""Whether the lake's copy of the orders' tables is what the hot tier has, row by row."""

from __future__ import annotations

from lake.contracts.contract import LEDGER_DATASETS, load
from lake.views.client import Client

STATES = ("orders", "positions")
"""Of these the hot tier has the last state of each thing, the lake those that were copied."""

PLACE = 0
"""Where a lake table of numbered rows says through which number it has them."""


def copy_faults(client: Client) -> tuple[int, list[str]]:
    """Return how many rows both have alike, and in words where they differ.

    Rows of the hot tier that are not yet on their way are left out. The lake is read as it was at
    the client's last refresh, so before the hot tier.
    """
    alike, faults = 0, []
    for dataset, key in LEDGER_DATASETS.items():
        snapshot = client.snapshots.get(dataset)
        if snapshot is None or snapshot.snapshot_id is None:
            continue
        through = snapshot.through.get(PLACE, 0)
        names = ", ".join(f'"{name}"' for name in load(dataset).names)
        hot = f"SELECT {names} FROM hot.{dataset} WHERE {key} <= {through}"
        lake = f"SELECT {names} FROM lake.{dataset}"
        missing = _count(client, f"{hot} EXCEPT ALL {lake}")
        strange = 0 if dataset in STATES else _count(client, f"{lake} EXCEPT ALL {hot}")
        alike += _count(client, hot) - missing
        if missing:
            faults.append(f"{dataset}: the lake lacks {missing:,} rows, or has others for them")
        if strange:
            faults.append(f"{dataset}: the lake has {strange:,} rows that the hot tier has not")
    return alike, faults


def _count(client: Client, statement: str) -> int:
    found = client.arrow(f"SELECT count(*) AS n FROM ({statement})")
    return int(found["n"][0].as_py())
