"""Issue 6, part 7: a receipt says what a result was made of; its digests are of values alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import BadInput
from lake.receipts.code_version import code_hash, library_versions
from lake.receipts.digest import table_digest
from lake.receipts.receipt import Inputs, Receipt, differences, read, receipt_of, save

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        ("n", pa.int64()),
        ("price", pa.decimal128(28, 10)),
        ("at", pa.timestamp("us", "UTC")),
        ("word", pa.string()),
        ("raw", pa.binary()),
        ("yes", pa.bool_()),
        ("x", pa.float64()),
    ]
)
ROW = st.fixed_dictionaries(
    {
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "price": st.none() | st.decimals(-(10**17), 10**17, places=10),
        "at": st.none() | st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)),  # noqa: DTZ001
        "word": st.none() | st.text("a|~é", max_size=5),
        "raw": st.none() | st.binary(max_size=5),
        "yes": st.none() | st.booleans(),
        "x": st.none() | st.floats(allow_nan=False),
    }
)


def table(rows: list[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist(rows, SCHEMA)


@given(st.lists(ROW, max_size=8), st.integers(0, 8))
def test_chunks_offsets_and_dictionaries_do_not_change_a_digest(
    rows: list[dict[str, object]], cut: int
) -> None:
    whole = table(rows)
    digest = table_digest(whole)
    assert table_digest(pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])) == digest
    padded = table([*rows[:1], *rows])
    assert table_digest(padded.slice(len(rows[:1]))) == digest
    words = whole["word"].dictionary_encode()
    assert table_digest(whole.set_column(3, "word", words)) == digest


@given(st.lists(ROW, min_size=1, max_size=6), ROW, st.integers(0, 5))
def test_another_value_is_another_digest(
    rows: list[dict[str, object]], other: dict[str, object], at: int
) -> None:
    changed = list(rows)
    changed[at % len(rows)] = other
    # -0.0 and 0.0 are equal in Python and have other bits
    same = str(table(rows).to_pylist()) == str(table(changed).to_pylist())
    assert (table_digest(table(rows)) == table_digest(table(changed))) == same


def test_a_digest_is_the_same_in_every_version() -> None:
    """A receipt of years ago must still be found right: this is its format."""
    rows = [
        {"n": 1, "price": Decimal("2.5"), "at": NOW, "word": "a", "raw": b"", "yes": True, "x": 0.5}
    ]
    assert table_digest(table([*rows, dict.fromkeys(SCHEMA.names)])) == (
        "eba9903d6899bbef4e917b9970cbe471f195a3bc621e07a798f8f866f11e477b"
    )


def test_a_column_that_has_no_digest_is_refused() -> None:
    with pytest.raises(BadInput, match="column a: is list"):
        table_digest(pa.table({"a": [[1]]}))


def receipt(price: str = "1") -> Receipt:
    result = {"fills": pa.table({"price": [Decimal(price)]})}
    return receipt_of("backtest", "test", Inputs("first", {"bars": "0" * 64}, {}), result, NOW)


def test_a_receipt_is_read_as_it_was_written_and_named_by_what_it_says(tmp_path: Path) -> None:
    path = save(receipt(), tmp_path / "receipts")
    assert path.name == f"backtest-test-{receipt().id}.json"
    assert read(path) == receipt()
    assert receipt("2").id != receipt().id
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_result_that_differs_is_a_fault_and_other_code_is_said() -> None:
    found = differences(receipt(), receipt("2"))
    assert [(each.what, each.fault) for each in found] == [("result fills", True)]
    before = receipt()
    other = Receipt(
        **{
            **{name: getattr(before, name) for name in before.__slots__},
            "code": "1" * 64,
            "libraries": {**before.libraries, "numpy": "0.1"},
        }
    )
    assert [(each.what, each.fault) for each in differences(before, other)] == [
        ("code", False),
        ("library numpy", False),
    ]


def test_a_receipt_changed_by_hand_or_none_at_all_is_bad_input(tmp_path: Path) -> None:
    path = save(receipt(), tmp_path)
    document = json.loads(path.read_text())
    document["result"]["fills"] = "f" * 64
    path.write_text(json.dumps(document))
    with pytest.raises(BadInput, match="changed by hand"):
        read(path)
    path.write_text("{}")
    with pytest.raises(BadInput, match="is no receipt"):
        read(path)
    with pytest.raises(BadInput, match="No such file"):
        read(tmp_path / "none.json")


def test_code_and_libraries_are_named() -> None:
    assert len(code_hash()) == 64
    assert code_hash() == code_hash()
    assert code_hash(["lake"]) != code_hash()
    assert {"python", "numpy", "pyarrow", "duckdb"} <= library_versions().keys()
    assert code_hash(["no_such_package"]) == code_hash([])
