"""labels_market: what functions on whole series say, from when on, and what a late tick changes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from feature_repo.labels.forward import Series, forward_return, triple_barrier
from feature_repo.labels.versions import DEAD_BAND, HORIZONS, barrier_width
from flows.bars_to_labels import Step, label_bars
from lake.clock import ManualClock
from lake.errors import TicklakeError
from lake.steps import Steps
from tests.bars.trading import EPOCH
from tests.features.bars import walk
from tests.features.house import NOW, US, House

COUNT = 400
BARS = pa.concat_tables([walk(COUNT, gaps=0.1), walk(60, ticker="X:ETHUSD", interval="1h")])
MINUTES = BARS.slice(0, COUNT)
HORIZON = HORIZONS["1m"]
MINUTE = 60_000_000


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[House]:
    house = House(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    yield house
    house.close()


def make(house: House, steps: Steps | None = None, **options: int) -> Step:
    return label_bars(
        house.dsn, house.place, ManualClock((NOW - EPOCH) // US), steps=steps, **options
    )


def newest(house: House, where: str) -> list[dict[str, object]]:
    return house.rows(
        f"""SELECT event_time, label, label_end_time, label_value, label_side, width
        FROM labels_market WHERE {where}
        QUALIFY row_number() OVER (PARTITION BY ticker, "interval", event_time, label
            ORDER BY available_time DESC, recorded_time DESC) = 1 ORDER BY label, event_time"""
    ).to_pylist()


def wanted(bars: pa.Table, horizon: int, label: str) -> list[dict[str, object]]:
    end = bars["event_time"].cast(pa.int64()).to_numpy() + MINUTE
    high, low, close = (
        bars[name].cast(pa.float64()).to_numpy() for name in ("high", "low", "close")
    )
    series, width = Series(end, end, high, low, close), barrier_width(close, horizon)
    found = (
        forward_return(series, horizon, dead_band=DEAD_BAND)
        if label == "forward"
        else triple_barrier(series, horizon, np.nan_to_num(width))
    )
    return [
        {
            "event_time": EPOCH + int(end[row]) * US,
            "label": label,
            "label_end_time": EPOCH + int(until) * US,
            "label_value": float(value),
            "label_side": int(side),
            "width": None if label == "forward" else float(width[row]),
        }
        for row, value, side, until in zip(
            found.row, found.value, found.side, found.end_us, strict=True
        )
    ]


def test_the_table_holds_what_the_functions_say_however_the_bars_came(house: House) -> None:
    house.publish(BARS.slice(0, 250))
    assert make(house).put > 0
    assert make(house) == Step(0, 0)
    house.publish(BARS.slice(250))
    make(house, rows_max=1)
    held = newest(house, "\"interval\" = '1m'")
    assert held == wanted(MINUTES, HORIZON, "barrier") + wanted(MINUTES, HORIZON, "forward")
    assert {each["label"] for each in newest(house, "\"interval\" = '1h'")} == {
        "barrier",
        "forward",
    }
    assert (
        house.rows("SELECT 1 FROM labels_market WHERE available_time < label_end_time").num_rows
        == 0
    )
    doubled = house.rows(
        'SELECT 1 FROM labels_market GROUP BY ticker, "interval", event_time, label'
        " HAVING count(*) > 1"
    )
    assert doubled.num_rows == 0  # a bar that came later changes no label that was whole


def test_a_label_is_known_when_its_last_bar_was_and_a_late_tick_adds_a_version(
    house: House,
) -> None:
    house.publish(MINUTES)
    make(house)
    at = 200
    old = MINUTES.slice(at, 1)
    row = old.to_pylist()[0]
    received = row["event_time"] + timedelta(hours=5)
    changed = {**row, "close": row["high"] * 2, "high": row["high"] * 2, "received_time": received}
    before = newest(house, "true")
    house.publish(pa.Table.from_pylist([changed], schema=BARS.schema), old)
    assert make(house).put > 0
    mended = pa.concat_tables(
        [MINUTES.slice(0, at), pa.Table.from_pylist([changed], schema=BARS.schema),
         MINUTES.slice(at + 1)]
    )  # fmt: skip
    every = wanted(mended, HORIZON, "barrier") + wanted(mended, HORIZON, "forward")
    assert newest(house, "true") == every
    assert newest(house, f"available_time < '{received.isoformat()}'") == before
    touching = MINUTES["event_time"][at - HORIZON].as_py() + timedelta(minutes=1)
    known = house.rows(
        f"SELECT max(available_time) AS t FROM labels_market WHERE label = 'forward'"
        f" AND event_time = '{touching.isoformat()}'"
    )
    assert known["t"].to_pylist() == [received]


def test_labels_of_bars_that_went_say_so(house: House) -> None:
    house.publish(MINUTES)
    make(house)
    house.publish(BARS.slice(0, 0), MINUTES.slice(COUNT - 5))
    make(house)
    held = newest(house, "label_value IS NOT NULL")
    gone = newest(house, "true")
    assert len(gone) == 2 * (COUNT - HORIZON) - 30  # the first 30 bars have no width
    short = MINUTES.slice(0, COUNT - 5)
    alive = [each for each in gone if each["label_value"] is not None]
    assert alive == wanted(short, HORIZON, "barrier") + wanted(short, HORIZON, "forward")
    assert len(held) >= len(alive)


@pytest.mark.parametrize("step", ["lake.parquet", "lake.pointer", "lake.committed"])
def test_a_run_that_fails_is_made_up_for(house: House, step: str) -> None:
    house.publish(MINUTES)
    with pytest.raises((TicklakeError, ConnectionError)):
        make(house, Steps.parse(f"{step}=lost-answer@1"))
    make(house)
    every = wanted(MINUTES, HORIZON, "barrier") + wanted(MINUTES, HORIZON, "forward")
    assert newest(house, "true") == every
    assert house.rows("FROM labels_market").num_rows == len(every)
