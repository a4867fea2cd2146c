"""What can be found: one thing of the catalog, and the words that speak of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["dataset", "column", "feature", "model", "statement", "verb"]
KINDS: tuple[Kind, ...] = ("dataset", "column", "feature", "model", "statement", "verb")


@dataclass(frozen=True, slots=True)
class Entry:
    """name: what to ask for. text: what it is. where: datasets that have it, "" for none.

    more: words that speak of what it belongs to; they count least.
    """

    kind: Kind
    name: str
    text: str
    where: tuple[str, ...] = ()
    more: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """An entry with its score; because: words of the question -> the word of the entry."""

    entry: Entry
    score: float
    because: tuple[tuple[str, str], ...]
