"""Contracts evolve by addition only: additions pass, breaks are found."""

from __future__ import annotations

import shutil
from datetime import date
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from infra.contracts.export import export
from infra.contracts.export import released as released_in
from lake.contracts.compare import check
from lake.contracts.contract import DATASETS, load
from lake.errors import BadInput

TODAY = date(2026, 11, 25)

ADDED = """\
      - name: {name}
        logicalType: string
        physicalType: text
        required: {required}
        description: Planted.
        customProperties:
          - {{property: fieldId, value: {id}}}
    quality:
"""


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    """Copy the current contracts to where a test may spoil them."""
    with as_file(files("lake.contracts")) as folder:
        for file in folder.glob("*.yaml"):
            shutil.copy(file, tmp_path)
    return tmp_path


def edit(folder: Path, old: str, new: str, dataset: str = "crypto_trades") -> list[str]:
    """Replace the first `old` in a contract; return the findings as text."""
    file = folder / f"{dataset}.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return [str(finding) for finding in check(TODAY, folder)]


def cut_column(folder: Path, name: str) -> list[str]:
    """Remove a column from crypto_trades; return the findings as text."""
    text = (folder / "crypto_trades.yaml").read_text()
    start = text.index(f"      - name: {name}\n")
    end = text.index("      - name: ", start + 1)
    return edit(folder, text[start:end], "")


def test_current_contracts_keep_what_was_released():
    assert check(TODAY) == []
    for dataset in DATASETS:
        released = files("lake.contracts").joinpath("released", dataset)
        assert f"{load(dataset).version}.yaml" in {each.name for each in released.iterdir()}


def test_removed_column_is_a_break(contracts):
    assert cut_column(contracts, "conditions") == ["crypto_trades.conditions: removed"]


def test_retyped_column_is_a_break(contracts):
    found = edit(contracts, "physicalType: numeric(28,10)", "physicalType: text")
    assert found == ["crypto_trades.price: type was numeric(28,10), now text"]


def test_changed_unit_is_a_break(contracts):
    found = edit(contracts, "value: quote currency", "value: cents")
    assert found == ["crypto_trades.price: unit was quote currency, now cents"]


def test_changed_id_is_a_break(contracts):
    found = edit(contracts, "{property: fieldId, value: 7}", "{property: fieldId, value: 70}")
    assert found == ["crypto_trades.price: id was 7, now 70"]


def test_changed_key_is_a_break(contracts):
    found = edit(contracts, "primaryKeyPosition: 1", "primaryKeyPosition: 9")
    assert found == [
        "crypto_trades: key was (exchange, market, ticker, trade_id),"
        " now (market, ticker, trade_id, exchange)"
    ]


def test_newly_required_column_is_a_break(contracts):
    found = edit(contracts, "required: false", "required: true")
    assert found == ["crypto_trades.trade_id: newly required"]


def test_removed_dataset_is_a_break(contracts):
    (contracts / "feed_gaps.yaml").unlink()
    assert [str(finding) for finding in check(TODAY, contracts)] == ["feed_gaps: removed"]


def test_moved_columns_are_a_break_because_the_ledger_reads_them_in_order(contracts):
    file = contracts / "crypto_trades.yaml"
    text = file.read_text()
    cut = [text.index(f"      - name: {name}\n") for name in ("side", "conditions", "shard")]
    side, conditions = text[cut[0] : cut[1]], text[cut[1] : cut[2]]
    assert edit(contracts, side + conditions, conditions + side) == [
        "crypto_trades.side: was column 9, now 10",
        "crypto_trades.conditions: was column 10, now 9",
    ]


def test_added_optional_column_passes(contracts):
    planted = ADDED.format(name="venue_flags", required="false", id=13)
    assert edit(contracts, "    quality:\n", planted) == []


def test_added_required_column_is_a_break(contracts):
    planted = ADDED.format(name="venue_flags", required="true", id=13)
    assert edit(contracts, "    quality:\n", planted) == [
        "crypto_trades.venue_flags: added as required; a new column is optional"
    ]


def test_added_column_under_a_used_id_is_a_break(contracts):
    planted = ADDED.format(name="venue_flags", required="false", id=12)
    assert edit(contracts, "    quality:\n", planted) == [
        "crypto_trades.venue_flags: added under id 12, which is seq's"
    ]


def test_changed_description_passes(contracts):
    found = edit(contracts, "Aggressor: buy or sell.", "Who crossed the spread: buy or sell.")
    assert found == []


def test_contract_that_was_never_released_passes(contracts):
    text = (contracts / "feed_gaps.yaml").read_text()
    (contracts / "more_gaps.yaml").write_text(text.replace("feed_gaps", "more_gaps"))
    assert check(TODAY, contracts) == []


def test_newest_release_counts_by_number_not_by_spelling(contracts, tmp_path):
    released = tmp_path / "released" / "crypto_trades"
    released.mkdir(parents=True)
    current = (contracts / "crypto_trades.yaml").read_text()
    newest = current.replace("version: 1.1.0", "version: 1.10.0")
    (released / "1.9.0.yaml").write_text(current.replace("version: 1.1.0", "version: 1.9.0"))
    (released / "1.10.0.yaml").write_text(newest)
    export(released_in(tmp_path / "released"), tmp_path / "avro")
    found = check(TODAY, contracts, tmp_path / "released", tmp_path / "avro")
    assert [finding.fault for finding in found] == ["version was 1.10.0, now 1.1.0"]


def test_damaged_contract_is_bad_input(contracts):
    (contracts / "feed_gaps.yaml").write_text("schema: {")
    with pytest.raises(BadInput, match=r"^feed_gaps\.yaml: not YAML"):
        check(TODAY, contracts)
