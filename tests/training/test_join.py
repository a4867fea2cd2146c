"""Issue 6, part 3: a value joins by both of its times, or not at all, whatever order it came in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import BadInput, Damaged, WrongUse
from lake.training.feature_table import FeatureTable
from lake.training.training_set import training_set
from lake.views.engine import open_duckdb
from tests.training.stands import MINUTE, NOON, PROBES, VALUES, Row, training_rows

TABLE = FeatureTable("values_one", ("one", "two"), 5 * MINUTE, ("ticker", "exchange"))
BY_TICKER = FeatureTable(
    "values_two", ("one",), 2 * MINUTE, fixed={"exchange": "a"}, prefix="other_"
)


class Place:
    """What the join asks of a client: views of an engine, of a release or not."""

    release: str | None = None

    def __init__(self) -> None:
        self.duckdb = open_duckdb([])

    def refresh(self) -> bool:
        return False

    def hold(self, view: str, rows: Sequence[Row]) -> None:
        self.duckdb.register(f"{view}_rows", pa.Table.from_pylist(list(rows), VALUES))
        self.duckdb.execute(f"CREATE OR REPLACE TABLE {view} AS FROM {view}_rows")

    def join(
        self, probes: Sequence[Row] | Path, tables: Sequence[FeatureTable], out: Path, **more: Any
    ) -> list[Row]:
        asked = probes
        if not isinstance(probes, Path):
            asked = pa.Table.from_pylist(list(probes), PROBES)
        made = training_set(self, asked, tables, out, time="at", **more)  # type: ignore[arg-type]
        return list(pq.read_table(made.path).to_pylist())


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.duckdb.close()


moments = st.integers(0, 12).map(lambda n: NOON + n * MINUTE)
series = {"ticker": st.sampled_from("AB"), "exchange": st.sampled_from("ab")}


@st.composite
def held(draw: st.DrawFn) -> list[Row]:
    """Return rows of a feature table, one for each series and all times, in any order."""
    keys = st.tuples(*series.values(), moments, st.integers(-2, 12))
    once = draw(st.lists(keys, unique=True, max_size=25))
    rows = [(*key, 1) for key in once]
    rows += [(*key, n % 2 * 2) for n, key in enumerate(once[: draw(st.integers(0, 9))])]
    return [
        {
            "ticker": ticker,
            "exchange": exchange,
            "event_time": event,
            "available_time": event + late * MINUTE,
            "recorded_time": NOON + recorded * timedelta(days=1),
            "one": None if draw(st.booleans()) and n % 5 == 0 else float(n),
            "two": float(-n),
        }
        for n, (ticker, exchange, event, late, recorded) in enumerate(rows)
    ]


asking = st.lists(
    st.fixed_dictionaries({**series, "at": moments, "label": st.integers(0, 9)}), max_size=15
)


@settings(max_examples=30, deadline=None)
@given(probes=asking, one=held(), two=held(), piece=st.sampled_from([None, 400, 3_000]))
def test_a_training_set_is_what_its_words_say_row_by_row(
    place: Place,
    tmp_path_factory: pytest.TempPathFactory,
    probes: list[Row],
    one: list[Row],
    two: list[Row],
    piece: int | None,
) -> None:
    out = tmp_path_factory.getbasetemp() / "set.parquet"
    place.hold("values_one", one)
    place.hold("values_two", two)
    found = place.join(probes, (TABLE, BY_TICKER), out, lacking="null", piece_bytes_max=piece)
    assert found == training_rows(probes, [(TABLE, one), (BY_TICKER, two)])


@settings(max_examples=20, deadline=None)
@given(probes=asking, rows=held(), more=held(), order=st.randoms(use_true_random=False))
def test_what_comes_later_changes_no_row_before_it_and_arrival_has_no_order(
    place: Place,
    tmp_path_factory: pytest.TempPathFactory,
    probes: list[Row],
    rows: list[Row],
    more: list[Row],
    order: Any,
) -> None:
    """Future values, late corrections and late backfills, all at once, in any order."""
    out = tmp_path_factory.getbasetemp() / "leak.parquet"
    place.hold("values_one", rows)
    before = place.join(probes, (TABLE,), out, lacking="null")
    known = {_versions(row) for row in rows}
    later = [row for row in more if _versions(row) not in known]
    together = [*rows, *later]
    order.shuffle(together)
    place.hold("values_one", together)
    after = place.join(probes, (TABLE,), out, lacking="null")
    seen = min((max(row["event_time"], row["available_time"]) for row in later), default=None)
    untouched = [seen is None or row["at"] < seen for row in before]
    assert [row for row, same in zip(after, untouched, strict=True) if same] == [
        row for row, same in zip(before, untouched, strict=True) if same
    ]


def _versions(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in VALUES.names[: -len(TABLE.columns)])


def value(minute: int, late: float, one: float, **more: Any) -> Row:
    event = NOON + minute * MINUTE
    row = {"ticker": "A", "exchange": "a", "event_time": event, "one": one, "two": None}
    times = {"available_time": event + late * MINUTE, "recorded_time": event + late * MINUTE}
    return {**row, **times, **more}


def ask(minute: float, **more: Any) -> Row:
    return {"ticker": "A", "exchange": "a", "at": NOON + minute * MINUTE, "label": 0, **more}


def ones(place: Place, out: Path, rows: list[Row], probes: list[Row], **more: Any) -> list[Any]:
    place.hold("values_one", rows)
    return [row["one"] for row in place.join(probes, (TABLE,), out / "set.parquet", **more)]


def test_a_late_correction_of_an_old_bar_hides_no_newer_one(place: Place, tmp_path: Path) -> None:
    rows = [value(0, 1, 1.0), value(1, 1, 2.0), value(0, 3, 9.0), value(1, 4, 8.0)]
    asked = [ask(minute) for minute in (0, 1, 2, 3, 4, 5)]
    found = ones(place, tmp_path, rows, asked, lacking="null")
    assert found == [None, 1.0, 2.0, 2.0, 2.0, 8.0]


def test_of_versions_known_from_one_time_on_the_one_recorded_last_stands(
    place: Place, tmp_path: Path
) -> None:
    first, second = ({"recorded_time": NOON + timedelta(days=n)} for n in (1, 2))
    rows = [value(0, 1, 2.0, **second), value(0, 1, 1.0, **first), value(1, 1, 3.0, **first)]
    asked = [ask(minute) for minute in (0, 1, 2)]
    assert ones(place, tmp_path, rows, asked, lacking="null") == [None, 2.0, 3.0]
    rows[0]["recorded_time"] = None  # a table may not say of all when they were written
    assert ones(place, tmp_path, rows, asked, lacking="null") == [None, 1.0, 3.0]
    rows[1]["recorded_time"] = None
    with pytest.raises(Damaged, match="agree in key and all times"):
        ones(place, tmp_path, rows, asked, lacking="null")


def test_bounds_are_inclusive_to_the_microsecond(place: Place, tmp_path: Path) -> None:
    us = timedelta(microseconds=1)
    rows = [value(0, 1, 1.0)]
    first = {**ask(1), "at": NOON + MINUTE - us}
    last = [ask(5), {**ask(5), "at": NOON + 5 * MINUTE + us}]
    assert ones(place, tmp_path, rows, [first, ask(1), *last], lacking="null") == [
        None,
        1.0,
        1.0,
        None,
    ]


def test_values_without_a_time_never_join(place: Place, tmp_path: Path) -> None:
    rows = [value(0, 0, 1.0), {**value(1, 0, 2.0), "available_time": None}]
    assert ones(place, tmp_path, rows, [ask(2)], lacking="null") == [1.0]


def test_small_memory_cuts_one_tickers_time_and_loses_nothing(place: Place, tmp_path: Path) -> None:
    rows = [value(minute, 1, float(minute)) for minute in range(600)]
    asked = [ask(minute) for minute in range(599, 0, -1)]
    place.hold("values_one", rows)
    whole = place.join(asked, (TABLE,), tmp_path / "one.parquet")
    table = pa.Table.from_pylist(asked, PROBES)
    made = training_set(
        place,  # type: ignore[arg-type]
        table,
        (TABLE,),
        tmp_path / "two.parquet",
        time="at",
        memory_bytes_max=2**24,
        piece_bytes_max=2**14,
    )
    assert made.pieces > 5
    assert pq.read_table(made.path).to_pylist() == whole
    assert whole == training_rows(asked, [(TABLE, rows)])
    assert len(whole) == made.rows == 599


def test_a_file_of_probes_is_as_good_as_a_table(place: Place, tmp_path: Path) -> None:
    place.hold("values_one", [value(0, 1, 1.0)])
    asked = [ask(2), ask(1), ask(0.5)]
    pq.write_table(pa.Table.from_pylist(asked, PROBES), tmp_path / "asked.parquet")
    found = place.join(tmp_path / "asked.parquet", (TABLE,), tmp_path / "set.parquet", times=True)
    assert [(row["probe"], row["one"]) for row in found] == [(2, None), (1, 1.0), (0, 1.0)]
    assert found[1]["values_one_event_time"] == NOON
    assert found[1]["values_one_available_time"] == NOON + MINUTE


def test_no_probes_make_a_file_with_columns_alone(place: Place, tmp_path: Path) -> None:
    place.hold("values_one", [])
    assert place.join([], (TABLE,), tmp_path / "set.parquet") == []
    names = pq.read_schema(tmp_path / "set.parquet").names
    assert names == ["ticker", "exchange", "at", "label", "probe", "one", "two"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"keys": ("symbol",)}, "probes: no column symbol: it has ticker, exchange, at, label"),
        ({"columns": ("three",)}, "values_one: no column three: it has"),
        ({"columns": ("one", "one")}, "training set: column one twice: give a table a prefix"),
        ({"keys": ("ticker",)}, "values_one: A has several series: they differ in exchange"),
        ({"dataset": "nothing"}, "nothing does not exist"),
    ],
)
def test_what_is_not_there_is_said(
    place: Place, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    place.hold("values_one", [value(0, 0, 1.0), value(0, 0, 2.0, exchange="b")])
    words: dict[str, Any] = {
        "dataset": "values_one",
        "columns": ("one",),
        "ttl": MINUTE,
        "keys": ("ticker", "exchange"),
    }
    with pytest.raises(WrongUse, match=said):
        place.join([ask(0)], (FeatureTable(**{**words, **change}),), tmp_path / "set.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_span_that_is_not_there_is_refused_in_one_sentence(place: Place, tmp_path: Path) -> None:
    rows = [value(0, 0, 1.0), value(9, 0, 2.0)]
    for asked in (ask(-1), ask(15)):
        with pytest.raises(BadInput) as refused:
            ones(place, tmp_path, rows, [asked])
        assert str(refused.value).startswith(
            "the lake: has values_one from 2024-08-08 12:00 to 2024-08-08 12:09 UTC, the rows are"
            f" from {asked['at']:%Y-%m-%d %H:%M} to"
        )
        assert ones(place, tmp_path, rows, [asked], lacking="null") == [None]
    with pytest.raises(BadInput, match="the lake: has no values_one, the rows are from"):
        ones(place, tmp_path, [], [ask(0)])


def test_probes_without_key_or_time_are_refused(place: Place, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="probes: 2 rows lack one of at, exchange, ticker"):
        ones(place, tmp_path, [], [ask(0, ticker=None), ask(0, at=None), ask(0)])


def test_an_engine_keeps_its_own_bound_of_memory(place: Place, tmp_path: Path) -> None:
    def limit() -> Any:
        return place.duckdb.execute("SELECT current_setting('memory_limit')").fetchall()

    before = limit()
    ones(place, tmp_path, [value(0, 0, 1.0)], [ask(0)], memory_bytes_max=2**26)
    assert limit() == before
