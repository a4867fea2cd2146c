"""The data dictionary: every dataset and column in Markdown, from the contracts."""

from __future__ import annotations

from collections.abc import Sequence

from lake.contracts.contract import DATASETS, LAKE_ONLY_DATASETS, Column, Contract, load
from lake.contracts.retention import TIERS


def kept(contract: Contract, tier: str) -> str:
    """Say how long a row stays in a tier, as it is done and not only promised."""
    if tier in ("hot", "compressed") and contract.name in LAKE_ONLY_DATASETS:
        return "never there"
    days = contract.retention_days[tier]
    return "for good" if days is None else f"{days} days"


def markdown(datasets: Sequence[str] = DATASETS) -> str:
    """Return the dictionary of these datasets, one section each."""
    sections = [_section(load(dataset)) for dataset in datasets]
    index = "\n".join(
        f"| [{name}](#{name}) | {load(name).description} | {load(name).owner} |"
        for name in datasets
    )
    head = f"# Data dictionary\n\n| dataset | what | owner |\n|---|---|---|\n{index}\n"
    return "\n".join([head, *sections])


def _section(contract: Contract) -> str:
    parts = [f"## {contract.name}", "", contract.description, "", *_facts(contract), ""]
    parts += ["| id | column | type | null | unit | meaning |", "|---|---|---|---|---|---|"]
    parts += [_row(column) for column in contract.columns]
    parts += ["", "Rules:", ""]
    parts += [f"- `{rule.name}` ({rule.dimension}): {rule.description}" for rule in contract.rules]
    return "\n".join(parts) + "\n"


def _facts(contract: Contract) -> list[str]:
    partition = f"{contract.partition_transform}({contract.partition_column})"
    fresh = contract.freshness_minutes
    measures = [name for name in (contract.ledger_sum_a, contract.ledger_sum_b) if name]
    return [
        f"- {contract.granularity}; version {contract.version}, owner {contract.owner}",
        f"- key: {', '.join(contract.key)}",
        f"- partitions: {partition if contract.partition_column else 'none'};"
        f" sorted by {', '.join(contract.sort)}",
        f"- kept: {', '.join(f'{tier} {kept(contract, tier)}' for tier in TIERS)}",
        f"- freshness: {f'{fresh} minutes' if fresh else 'not promised'}",
        f"- ledger sums: {', '.join(measures) or 'none'}",
    ]


def _row(column: Column) -> str:
    null = "no" if column.required else "yes"
    cells = (column.id, f"`{column.name}`", column.physical_type, null, column.unit)
    meaning = column.description.replace("|", "\\|")
    if column.goes_after:
        instead = f"; use `{column.replaced_by}`" if column.replaced_by else ""
        meaning += f" Deprecated, goes after {column.goes_after}{instead}."
    return f"| {' | '.join(str(cell) for cell in cells)} | {meaning} |"
