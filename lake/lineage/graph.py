"""The columns of everything, and which is made of which: from the contracts, views and statements.

A column is named `dataset.column`. What contracts declare (`transformSourceObjects`) is taken as it
is; what follows from a rule, such as the loss ledger's sums, is derived from the rule here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from lake.contracts.contract import DATASETS, Contract, load
from lake.errors import BadInput, WrongUse
from lake.ledger import MEASURES
from lake.views.union_view import AGGREGATE_COLUMNS, AGGREGATES

SCHEMA = "market."
JOURNAL = "journal.frames"
JOURNAL_COLUMNS = ("payload", "received_time", "frame_no", "shard", "feed", "connection")
"""What every event begins as: a frame of a shard's journal."""

LEDGER = "ledger_minutes"
DEPTH_MAX = 64
"""Steps that a walk takes; the graph has no rings, and no path of ours comes near it."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A column and one that it is made of, each as dataset.column; how, in words."""

    source: str
    target: str
    how: str = ""


@dataclass(frozen=True)
class Graph:
    """Columns by name and the edges between them; columns without an edge are in it too."""

    columns: frozenset[str]
    edges: tuple[Edge, ...]
    _up: Mapping[str, tuple[Edge, ...]] = field(init=False, repr=False)
    _down: Mapping[str, tuple[Edge, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        up: defaultdict[str, list[Edge]] = defaultdict(list)
        down: defaultdict[str, list[Edge]] = defaultdict(list)
        for edge in self.edges:
            for end in (edge.source, edge.target):
                if end not in self.columns:
                    raise BadInput(
                        edge.target, f"is made of {edge.source}, and {end} is no column", "name one"
                    )
            up[edge.target].append(edge)
            down[edge.source].append(edge)
        object.__setattr__(self, "_up", {name: tuple(found) for name, found in up.items()})
        object.__setattr__(self, "_down", {name: tuple(found) for name, found in down.items()})

    def sources(self, column: str) -> tuple[Edge, ...]:
        """Return what a column is made of, one step up."""
        return self._up.get(column, ())

    def uses(self, column: str) -> tuple[Edge, ...]:
        """Return what is made of a column, one step down."""
        return self._down.get(column, ())

    def find(self, word: str) -> tuple[str, ...]:
        """Return the columns that a word names: one column, or a dataset's all.

        `market.` before it may be left out. Raises WrongUse where there is none.
        """
        name = word.removeprefix(SCHEMA)
        found = (
            (name,)
            if name in self.columns
            else tuple(sorted(each for each in self.columns if dataset_of(each) == name))
        )
        if not found:
            near = sorted(each for each in self.columns if each.endswith(f".{name.split('.')[-1]}"))
            remedy = f"one of {', '.join(near[:8])}" if near else "see: ticklake contracts show"
            raise WrongUse(word, "no such column", remedy)
        return found

    def walk(self, columns: Iterable[str], *, up: bool) -> tuple[Edge, ...]:
        """Return every edge above (or below) these columns, nearest first, each once."""
        seen: dict[Edge, None] = {}
        at = tuple(columns)
        for _ in range(DEPTH_MAX):
            edges = [
                edge
                for each in at
                for edge in (self.sources(each) if up else self.uses(each))
                if edge not in seen
            ]
            if not edges:
                break
            seen |= dict.fromkeys(edges)
            at = tuple(dict.fromkeys(edge.source if up else edge.target for edge in edges))
        return tuple(seen)


def dataset_of(column: str) -> str:
    """Return the dataset of dataset.column."""
    return column.rpartition(".")[0]


def graph_of(contracts: Iterable[Contract], more: Iterable[Edge] = ()) -> Graph:
    """Return the graph of these contracts, what follows from them, and more edges.

    Raises BadInput where a contract names a column that does not exist.
    """
    known = tuple(contracts)
    columns = {f"{JOURNAL}.{name}" for name in JOURNAL_COLUMNS}
    columns |= {f"{each.name}.{name}" for each in known for name in each.names}
    edges = dict.fromkeys(edge for each in known for edge in declared(each))
    present = {each.name: each for each in known}
    if LEDGER in present:
        edges |= dict.fromkeys(_ledger_edges(present))
    extra = [*(_bar_views() if "bars" in present else ()), *more]
    edges |= dict.fromkeys(extra)
    columns |= {edge.target for edge in extra}
    return Graph(frozenset(columns), tuple(edges))


def graph(more: Iterable[Edge] = ()) -> Graph:
    """Return the graph of everything under contract."""
    return graph_of(map(load, DATASETS), more)


def declared(contract: Contract) -> Iterator[Edge]:
    """Yield what a contract says its columns are made of."""
    for column in contract.columns:
        for source in column.sources:
            yield Edge(source, f"{contract.name}.{column.name}", column.transform)


def _ledger_edges(contracts: Mapping[str, Contract]) -> Iterator[Edge]:
    """Yield what the loss ledger is made of: by its rule, the columns of every other dataset."""
    for dataset in (each for each in MEASURES if each in contracts):
        contract = contracts[dataset]
        measures = {
            "ticker": (contract.ledger_ticker, "ticker of the minute"),
            "minute": (contract.ledger_time, "the minute that it lies in"),
            "sum_a": (contract.ledger_sum_a, "exact sum"),
            "sum_b": (contract.ledger_sum_b, "exact sum"),
        }
        for target, (source, how) in measures.items():
            if source:
                yield Edge(f"{dataset}.{source}", f"{LEDGER}.{target}", how)
        for name in contract.names:
            yield Edge(f"{dataset}.{name}", f"{LEDGER}.digest", "sum of md5 slices of the row")


def _bar_views() -> Iterator[Edge]:
    """Yield the views under the old names of bars: closed ones of the lake, open ones of hot."""
    for interval in AGGREGATES:
        for name in AGGREGATE_COLUMNS:
            source = "event_time" if name == "bucket" else name
            yield Edge(f"bars.{source}", f"crypto_agg_{interval}.{name}", f"bars of {interval}")
