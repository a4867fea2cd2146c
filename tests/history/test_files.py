"""Files of history become rows to the last digit; what is wrong in one is said with its row."""

from __future__ import annotations

import csv
import re
import zipfile
from decimal import Decimal
from pathlib import Path

import orjson
import polars as pl
import pytest

from lake.errors import BadInput, TicklakeError, WrongUse
from lake.feeds.history import UNREADABLE
from lake.history.files import REFUSED_MAX, HistoryFile, open_file

TRADES = """1,61804.8,0.5,30902.4,1723161257679,True,True
2,61804.90,0.25,1.0,1723161257680,False,True
3,0.00000001,1000000,1.0,1735689600000123,false,True
"""


def zipped(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(path.with_suffix(".csv").name, text)
    return path


def rows(file: HistoryFile, after: int = 0) -> list[dict[str, object]]:
    return [row for piece in file.pieces(after) for row in piece.rows.to_pylist()]


def notes(file: HistoryFile) -> list[dict[str, object]]:
    return [orjson.loads(note) for piece in file.pieces(0) for note in piece.notes]


def test_a_dump_of_klines_is_the_published_klines(tmp_path: Path, data_dir: Path) -> None:
    text = (data_dir / "klines" / "binance_um_BTCUSDT_1m_klines_2024-08-08.csv").read_text()
    path = zipped(tmp_path / "um" / "daily" / "BTCUSDT-1m-2024-08-08.zip", text)
    file = open_file(path, {})
    assert (file.dataset, file.given["market"]) == ("crypto_aggregates", "usdm")
    found = rows(file)
    published = list(csv.DictReader(text.splitlines()))
    names = ("open", "high", "low", "close", "volume")
    assert [[r[name] for name in names] for r in found] == [
        [Decimal(p[name]) for name in names] for p in published
    ]
    assert {(r["ticker"], r["exchange"], r["interval"]) for r in found} == {
        ("X:BTCUSDT", "binance", "1m")
    }


def test_a_dump_of_trades_is_read_with_and_without_a_header_and_goes_on_anywhere(
    tmp_path: Path,
) -> None:
    bare = zipped(tmp_path / "spot" / "BTCUSDT-trades-2024-08-08.zip", TRADES)
    header = "id,price,qty,quote_qty,time,is_buyer_maker,is_best_match\n"
    headed = tmp_path / "um" / "BTCUSDT-trades-2024-08.csv"
    headed.parent.mkdir()
    headed.write_text(header + TRADES)
    found = rows(open_file(bare, {}))
    assert [(r["trade_id"], r["price"], r["size"], r["side"]) for r in found] == [
        ("1", Decimal("61804.8"), Decimal("0.5"), "sell"),
        ("2", Decimal("61804.9"), Decimal("0.25"), "buy"),
        ("3", Decimal("0.00000001"), Decimal(1_000_000), "buy"),
    ]
    assert [int(r["event_time"].timestamp() * 1e6) for r in found] == [  # type: ignore[attr-defined]
        1_723_161_257_679_000, 1_723_161_257_680_000, 1_735_689_600_000_123,
    ]  # fmt: skip
    other = rows(open_file(headed, {}))
    assert [{**r, "market": "spot"} for r in other] == found
    for after in range(4):
        assert rows(open_file(bare, {}), after) == found[after:]


def test_aggregated_trades_keep_the_ids_that_they_stand_for(tmp_path: Path) -> None:
    path = tmp_path / "cm" / "BTCUSD_PERP-aggTrades-2024-08.csv"
    path.parent.mkdir()
    path.write_text("9,61804.8,5,101,103,1723161257679,true\n")
    [row] = rows(open_file(path, {}))
    assert (row["trade_id"], row["conditions"], row["market"], row["ticker"]) == (
        "101-103", "AGGREGATED", "coinm", "X:BTCUSD_PERP",
    )  # fmt: skip


def test_csv_and_parquet_of_any_column_names_are_the_same_rows(tmp_path: Path) -> None:
    plain = tmp_path / "a.csv"
    plain.write_text(
        "timestamp,symbol,price,qty,id,side\n"
        "2024-08-08T00:00:00.5Z,BTC-USD,1.5,2,7,buy\n"
        "2024-08-08 00:00:01+00:00,BTC-USD,1.25,3,8,sell\n"
    )
    packed = tmp_path / "a.parquet"
    pl.DataFrame(
        {
            "time": pl.Series([1_723_075_200_500_000, 1_723_075_201_000_000]).cast(
                pl.Datetime("us", "UTC")
            ),
            "ticker": ["X:BTCUSD"] * 2,
            "price": [1.5, 1.25],
            "amount": [2.0, 3.0],
            "trade_id": [7, 8],
            "is_buyer_maker": [False, True],
        }
    ).write_parquet(packed)
    given = {"exchange": "kraken", "market": "spot"}
    found = rows(open_file(plain, given))
    assert found == rows(open_file(packed, given))
    assert [row["ticker"] for row in found] == ["X:BTCUSD"] * 2
    assert [row["side"] for row in found] == ["buy", "sell"]


@pytest.mark.parametrize(
    ("name", "text", "error", "words"),
    [
        ("x.csv", "time,price,qty,symbol\n1723161257679,1,2,BTC-USD\n", WrongUse, "trade_id"),
        ("x.csv", "a,b\n1,2\n", WrongUse, "no dataset that is known"),
        ("BTCUSDT-trades-2024-08.csv", "1,2,3,4,5,True,True\n", WrongUse, "give --market"),
        ("BTCUSDT-5m-2024-08.csv", "1\n", WrongUse, "give --market"),
        ("x.csv", "time,price,qty,id,symbol\n1723161257679,1\n", BadInput, "columns"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said_with_its_place(
    tmp_path: Path, name: str, text: str, error: type[TicklakeError], words: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(error, match=words):
        rows(
            open_file(path, {"exchange": "kraken"} | ({"market": "spot"} if name[0] == "x" else {}))
        )


GOOD = ("1723161257679,1.5,2,7,BTC-USD,true", "1723161257681,1.75,2,9,BTC-USD,false")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("1723161257680,one,2,8,BTC-USD,true", "row 2: price: 'one'"),
        ("1723161257680,0.12345678901,2,8,BTC-USD,true", "row 2: price: .*data loss"),
        ("noon,1,2,8,BTC-USD,true", "row 2: event_time: 'noon' is no UTC time"),
        ("1723161257680,1,2,8,BTC-USD,maybe", "row 2: buyer is maker: 'maybe' is neither"),
    ],
)
def test_a_row_that_can_t_be_read_is_said_with_its_place_and_the_others_are_read(
    tmp_path: Path, bad: str, words: str
) -> None:
    path = tmp_path / "x.csv"
    lines = ("time,price,qty,id,symbol,is_buyer_maker", GOOD[0], bad, GOOD[1])
    path.write_text("\n".join(lines) + "\n")
    file = open_file(path, {"exchange": "kraken", "market": "spot"})
    assert [row["trade_id"] for row in rows(file)] == ["7", "9"]
    assert [piece.upto for piece in file.pieces(0)] == [3]
    [note] = notes(file)
    assert note["reason"] == UNREADABLE
    assert re.search(words, str(note["detail"]))
    assert note["row"] == dict(zip(lines[0].split(","), bad.split(","), strict=True))
    assert len(rows(file, 2)) == 1


def test_a_file_of_another_kind_than_it_seems_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    bad = "\n".join(f"noon,1,2,{n},BTC-USD" for n in range(REFUSED_MAX + 1))
    path.write_text(f"time,price,qty,id,symbol\n{bad}\n")
    with pytest.raises(BadInput, match=f"row {REFUSED_MAX + 1}: .*more than {REFUSED_MAX} rows"):
        rows(open_file(path, {"exchange": "kraken", "market": "spot"}))


def test_a_damaged_zip_is_said_and_a_missing_file_too(tmp_path: Path) -> None:
    path = tmp_path / "spot" / "BTCUSDT-trades-2024-08-08.zip"
    path.parent.mkdir()
    path.write_bytes(b"PK no zip")
    with pytest.raises(BadInput, match="is damaged"):
        rows(open_file(path, {}))
    with pytest.raises(BadInput, match="is no file"):
        open_file(tmp_path / "nothing.csv", {})


def test_bars_that_are_longer_than_a_minute_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "spot" / "BTCUSDT-1h-2024-08.csv"
    path.parent.mkdir()
    path.write_text("1\n")
    with pytest.raises(BadInput, match="bars of 1h"):
        open_file(path, {})
