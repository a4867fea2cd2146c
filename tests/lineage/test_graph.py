"""Issue 5, part 7: where a column comes from and what uses it, from what contracts declare."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.contracts.contract import DATASETS, TICK_DATASETS, load
from lake.errors import BadInput, WrongUse
from lake.lineage.graph import Edge, Graph, dataset_of, graph, graph_of
from lake.lineage.statements import columns_read, statement_edges
from lake.queries.query import find

WHOLE = graph(statement_edges())


def above(column: str) -> set[str]:
    return {edge.source for edge in WHOLE.walk([column], up=True)}


def below(column: str) -> set[str]:
    return {edge.target for edge in WHOLE.walk([column], up=False)}


@pytest.mark.parametrize("dataset", ["bars", *TICK_DATASETS])
def test_every_column_of_ticks_and_bars_says_what_it_is_made_of(dataset: str) -> None:
    for name in load(dataset).names:
        assert any(each.startswith("journal.frames.") for each in above(f"{dataset}.{name}"))


def test_a_vwap_comes_from_prices_and_sizes_and_from_what_venues_publish() -> None:
    assert above("bars.vwap") == {
        *("bars.turnover", "bars.volume", "crypto_trades.price", "crypto_trades.size"),
        *("crypto_aggregates.vwap", "crypto_aggregates.volume", "journal.frames.payload"),
    }


def test_a_change_of_price_touches_bars_their_old_names_the_ledger_and_statements() -> None:
    touched = {dataset_of(each) for each in below("crypto_trades.price")}
    assert {"bars", "crypto_agg_1m", "ledger_minutes", "query.vwap", "query.candles"} <= touched
    assert "query.spread_and_depth" not in touched
    assert "bars.buy_volume" not in below("crypto_trades.price")


def test_a_statement_reads_what_its_text_names() -> None:
    assert columns_read(find("vwap")) >= {
        *("crypto_trades.price", "crypto_trades.size", "crypto_trades.event_time"),
    }
    assert all(each.startswith("crypto_trades.") for each in columns_read(find("vwap")))


def test_a_dataset_stands_for_its_columns_and_a_column_that_is_none_is_wrong_use() -> None:
    assert WHOLE.find("market.bars.vwap") == WHOLE.find("bars.vwap") == ("bars.vwap",)
    assert set(WHOLE.find("bars")) == {f"bars.{name}" for name in load("bars").names}
    with pytest.raises(WrongUse, match=r"^bars\.vwapp: no such column"):
        WHOLE.find("bars.vwapp")
    with pytest.raises(WrongUse, match=r"one of .*bars\.vwap"):
        WHOLE.find("trades.vwap")


def test_a_contract_that_names_no_column_is_bad_input() -> None:
    with pytest.raises(BadInput, match=r"crypto_trades\.\w+ is no column"):
        graph_of([load("bars")])


def test_every_column_is_in_the_graph() -> None:
    assert {f"{d}.{name}" for d in DATASETS for name in load(d).names} <= WHOLE.columns


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20))
def test_a_column_is_above_another_when_that_is_below_it(pairs: list[tuple[int, int]]) -> None:
    columns = [f"d.c{n}" for n in range(8)]
    edges = tuple(
        dict.fromkeys(Edge(columns[min(p)], columns[max(p)]) for p in pairs if p[0] != p[1])
    )
    found = Graph(frozenset(columns), edges)
    for one in columns:
        for other in columns:
            is_above = any(e.source == other for e in found.walk([one], up=True))
            is_below = any(e.target == one for e in found.walk([other], up=False))
            assert is_above == is_below


def test_a_walk_takes_each_edge_once_and_the_nearest_first() -> None:
    chain = [f"d.c{n}" for n in range(5)]
    found = Graph(frozenset(chain), tuple(Edge(a, b) for a, b in pairwise(chain)))
    assert [edge.source for edge in found.walk(["d.c4"], up=True)] == list(reversed(chain[:4]))
