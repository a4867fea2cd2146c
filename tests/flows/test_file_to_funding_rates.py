"""Issue 6, part 6: funding rates come in once, from others' files as they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from flows.file_to_funding_rates import DATASET, read, store
from lake.errors import BadInput, Damaged, WrongUse
from lake.views.client import Client
from lake.warehouse import Folder

NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)
BTC = {"ticker": "X:BTCUSDT", "exchange": "binance", "market": "usdm"}


def file_of(folder: Path, *rates: float) -> Path:
    times = [NOON + timedelta(hours=8 * n) for n in range(len(rates))]
    path = folder / "rates.feather"
    pyarrow.feather.write_feather(pa.table({"date": times, "open": list(rates)}), path)
    return path


def test_rates_come_to_hot_and_lake_once_and_exactly(migrated_dsn: str, tmp_path: Path) -> None:
    place = Folder(tmp_path / "warehouse")
    stored = store(migrated_dsn, place, file_of(tmp_path, 0.0001, -0.000017), BTC)
    assert (stored.rows, stored.held) == (2, 0)
    again = store(migrated_dsn, place, file_of(tmp_path, 0.0001, -0.000017, 1e-06), BTC)
    assert again.line() == "1 funding rates stored, 2 were held already"
    with Client(migrated_dsn, place) as client:
        for view in (DATASET, f"lake.{DATASET}"):
            found = client.arrow(f"SELECT row_no, rate, ticker FROM {view} ORDER BY 1")
            assert found["row_no"].to_pylist() == [1, 2, 3]
            assert found["rate"].to_pylist() == [
                Decimal("0.0001"),
                Decimal("-0.000017"),
                Decimal("0.000001"),
            ]


def test_a_rate_that_is_held_otherwise_and_one_that_can_t_be_are_refused(
    migrated_dsn: str, tmp_path: Path
) -> None:
    place = Folder(tmp_path / "warehouse")
    store(migrated_dsn, place, file_of(tmp_path, 0.0001), BTC)
    with pytest.raises(Damaged, match=r"is held as 0\.0001000000, the file says 0\.0002"):
        store(migrated_dsn, place, file_of(tmp_path, 0.0002), BTC)
    with pytest.raises(Damaged, match="rate_bounded"):
        store(migrated_dsn, place, file_of(tmp_path, 1.5), {**BTC, "market": "coinm"})


def test_files_are_read_as_others_write_them(tmp_path: Path) -> None:
    times = [NOON + timedelta(hours=8 * n) for n in range(2)]
    millis = [int(each.timestamp()) * 1000 for each in times]
    path = tmp_path / "rates.csv"
    lines = [f"{at},8,0.0001" for at in millis]
    path.write_text("\n".join(["calc_time,funding_interval_hours,last_funding_rate", *lines]))
    assert read(path, BTC)["event_time"].to_pylist() == times
    whole = tmp_path / "rates.parquet"
    pq.write_table(read(path, BTC), whole)
    assert read(whole, {}).drop_columns(["source"]) == read(path, BTC).drop_columns(["source"])
    with pytest.raises(WrongUse, match="ticker, exchange, market: is in no column"):
        read(path, {})
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(BadInput, match="Parquet, CSV or Feather with event_time and rate"):
        read(tmp_path / "x.parquet", BTC)


def test_recorded_rates_are_read(data_dir: Path) -> None:
    path = data_dir / "bars_5m_2025" / "BTC_USDT_USDT-1h-funding_rate.feather"
    found = read(path, BTC)
    assert found.num_rows > 1_000
    assert found["rate"][0].as_py() == Decimal("0.0001")
