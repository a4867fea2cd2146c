"""Which datasets leave a tier at their contract's age, and by what; tests hold contracts to it.

- hot, TICK_DATASETS: a day is dropped, by the loss ledger (lake.ingest.hot_to_dropped)
- hot, ROW_DATASETS: a day's rows are deleted, by the loss ledger (lake.ingest.days_in_hot)
- hot, RESULTS: by the lake's mark, but for the newest of each rule (flows.old_results)
- lake and archive, aging_datasets(): day by day (flows.lake_to_archive)

The others' contracts keep them for good. So do those of the ledger and of batches in the hot tier:
`verify`, retention and every reader's marks go by their hot rows.
"""

from __future__ import annotations

from functools import cache

from lake.contracts.contract import DATASETS, TICK_DATASETS, load

ROW_DATASETS = ("quarantine",)
"""Under the loss ledger, with an age in the hot tier, and not cut by days."""

LEAVING_DATASETS = (*TICK_DATASETS, *ROW_DATASETS)
"""Datasets whose days leave the hot tier by the loss ledger."""

RESULTS = "quality_results"


def time_name(dataset: str) -> str:
    """Return the column whose age counts; "" for a dataset that has none."""
    contract = load(dataset)
    return contract.partition_column or contract.ledger_time or contract.age_time


@cache
def aging_datasets() -> tuple[str, ...]:
    """Return the datasets whose days leave the lake for the archive."""
    return tuple(name for name in DATASETS if load(name).retention_days["lake"] is not None)
