"""Rows by the column before they are Arrow's: lists of text and arrays of whole numbers.

Making Arrow of a few rows costs some hundred microseconds whatever they are; who asks of a handful
of rows what is newest needs none of it. Many of these become one table at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.feeds.columns import arranged
from lake.feeds.events import schema
from lake.feeds.scaled import decimals

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Texts = list[str | None]


@dataclass(frozen=True, slots=True)
class Plain:
    """Rows of a dataset; a column that is not there is null in every row.

    columns: text as lists, whole numbers and times (UTC microseconds) as arrays, amounts as arrays
    of 10^10ths; all as long as `seq`.
    """

    dataset: str
    columns: Mapping[str, Texts | Int64]

    def __len__(self) -> int:
        return len(self.columns["seq"])

    def texts(self, name: str) -> Texts:
        """Return a column of text."""
        found = self.columns[name]
        assert isinstance(found, list)
        return found

    def numbers(self, name: str) -> Int64:
        """Return a column of whole numbers, times or amounts."""
        found = self.columns[name]
        assert isinstance(found, np.ndarray)
        return found

    def filter(self, keep: Bool) -> Plain:
        """Return the rows that are to be kept, in their order."""
        at = np.flatnonzero(keep).tolist()
        kept: dict[str, Texts | Int64] = {
            name: values[keep] if isinstance(values, np.ndarray) else [values[i] for i in at]
            for name, values in self.columns.items()
        }
        return Plain(self.dataset, kept)

    def table(self) -> pa.Table:
        """Return the rows as the contract has them."""
        columns = {
            field.name: _column(self.columns.get(field.name), field.type, len(self))
            for field in schema(self.dataset)
        }
        return arranged(self.dataset, columns)


def joined(parts: Sequence[Plain]) -> Plain:
    """Return rows of one dataset and of the same columns as one, in their order; at least one."""
    columns: dict[str, Texts | Int64] = {}
    for name, first in parts[0].columns.items():
        if isinstance(first, np.ndarray):
            columns[name] = np.concatenate([each.numbers(name) for each in parts])
        else:
            columns[name] = [text for each in parts for text in each.texts(name)]
    return Plain(parts[0].dataset, columns)


def _column(values: Texts | Int64 | None, kind: pa.DataType, length: int) -> pa.Array | Int64:
    if values is None:
        return pa.nulls(length, kind)
    if isinstance(values, list):
        return pa.array(values, kind)
    return decimals(values) if pa.types.is_decimal(kind) else values
