"""Recordings are read as they came; a broken or foreign file is told in one sentence."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import pytest

from lake.errors import BadInput
from lake.feeds.recording import Received, instruments, open_recording

TRADE = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,'
    '"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}'
)
MATCHES = '{"type":"match","product_id":"SKL-USD"}'


def packed(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()))
    return path


def read(path: Path) -> tuple[list[Received], BadInput | None]:
    """Return every frame up to the end or the fault."""
    got: list[Received] = []
    try:
        for batch in open_recording(path).batches():
            got += batch
    except BadInput as fault:
        return got, fault
    return got, None


def test_nanoseconds_and_microseconds_are_told_apart_plain_or_packed(tmp_path: Path) -> None:
    text = f"1723161254087896568 {TRADE}\n"
    plain = tmp_path / "spot_x.dat"
    plain.write_text(f"1723161254087896 {TRADE}\r\n\n")
    expected = [[(1_723_161_254_087_896, TRADE.encode())]]
    assert list(open_recording(plain).batches()) == expected
    assert list(open_recording(packed(tmp_path / "spot_x.gz", text)).batches()) == expected


@pytest.mark.parametrize(
    ("name", "frame", "feed"),
    [
        ("spot_x.gz", TRADE, "binance.spot"),
        ("usdm_x.gz", TRADE.replace(',"M":true', ""), "binance.usdm"),
        ("cm_x.gz", TRADE.replace(',"M":true', ""), "binance.coinm"),
        ("x.gz", TRADE, "binance.spot"),
        ("x.gz", TRADE.replace('"M":true', '"X":"MARKET"'), "binance.usdm"),
        ("x.gz", TRADE.replace("BTCUSDT", "BTCUSD_PERP"), "binance.coinm"),
    ],
)
def test_market_is_told_by_the_name_or_else_by_the_frames(
    tmp_path: Path, name: str, frame: str, feed: str
) -> None:
    path = packed(tmp_path / name, f"1723161254087896568 {frame}\n")
    assert open_recording(path).feed == feed


def test_client_s_own_lines_of_a_capture_are_passed_over(tmp_path: Path) -> None:
    lines = [
        "wss://ws-feed.pro.coinbase.com <-> 1618677816.8434298",
        'wss://ws-feed.pro.coinbase.com <- 1618677817.020616: {"type":"subscribe"}',
        f"1618677817.0618958: {MATCHES}",
        f"1618677818: {MATCHES}",
    ]
    found = open_recording(packed(tmp_path / "c.gz", "\n".join(lines)))
    assert found.feed == "coinbase"
    assert list(found.batches()) == [
        [(1_618_677_817_061_895, MATCHES.encode()), (1_618_677_818_000_000, MATCHES.encode())]
    ]


def test_truncated_file_gives_every_whole_line_then_names_the_line(tmp_path: Path) -> None:
    lines = [f"{1723161254087896568 + i * 1000} {TRADE}" for i in range(5_000)]
    whole = packed(tmp_path / "spot_whole.gz", "\n".join(lines)).read_bytes()
    path = tmp_path / "spot_cut.gz"
    path.write_bytes(whole[: len(whole) // 2])
    got, fault = read(path)
    readable = zlib.decompressobj(31).decompress(path.read_bytes())
    assert 0 < len(got) == readable.count(b"\n")
    assert [raw for _, raw in got] == [TRADE.encode()] * len(got)
    assert fault is not None
    assert "breaks off or is damaged" in fault.fault
    assert fault.thing == f"{path} line {len(got) + 1}"
    assert instruments(path) == {("binance", "spot", "X:BTCUSDT")}


def test_damaged_middle_is_told_after_every_line_before_it(tmp_path: Path) -> None:
    lines = [f"{1723161254087896568 + i * 7919} {TRADE}" for i in range(20_000)]
    raw = bytearray(packed(tmp_path / "spot_whole.gz", "\n".join(lines)).read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 64] = b"\xff" * 64
    path = tmp_path / "spot_bad.gz"
    path.write_bytes(raw)
    got, fault = read(path)
    assert fault is not None
    assert fault.thing == f"{path} line {len(got) + 1}"
    assert len(got) > 0


def test_line_that_is_no_frame_is_told_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "spot_x.dat"
    path.write_text(f"1723161254087896 {TRADE}\nhello\n1723161254087897 {TRADE}\n")
    batches = open_recording(path).batches()
    assert next(batches) == [(1_723_161_254_087_896, TRADE.encode())]
    with pytest.raises(BadInput, match="no frame") as fault:
        next(batches)
    assert fault.value.thing == f"{path} line 2"


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"hello\n",
        b"\x1f\x8b broken",
        gzip.compress(b"", mtime=0),
        gzip.compress(b"wss://ws.bitstamp.net/ <-> 1641343690.598303\n1641343691.1: {}\n", mtime=0),
        b'configuration: {"trades":["BTC-USD"]}\n'
        b"https://api.pro.coinbase.com/products -> 1618677816.8: []\n",
        b'{"some":"json"}\n',
        b"PAR1\x00\x01",
    ],
)
def test_foreign_or_mislabelled_file_is_refused_at_once(tmp_path: Path, contents: bytes) -> None:
    path = tmp_path / "spot_mislabelled.gz"
    path.write_bytes(contents)
    with pytest.raises(BadInput) as fault:
        open_recording(path)
    assert str(fault.value).startswith(f"{path}: ")
    assert "\n" not in str(fault.value)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gz", tmp_path):
        with pytest.raises(BadInput, match="is no file"):
            open_recording(path)


@pytest.mark.parametrize(
    "name",
    [
        "BITSTAMP.ws.1.0.gz",
        "BINANCE.http.0.0.gz",
        "BITSTAMP.http.0.0.gz",
        "BINANCE.0.gz",
        "BITSTAMP.0.gz",
        "COINBASE.0.gz",
        "KRAKEN.0.gz",
    ],
)
def test_captures_of_other_venues_and_of_rest_answers_are_refused(
    data_dir: Path, name: str
) -> None:
    with pytest.raises(BadInput, match="is no recording that is known"):
        open_recording(data_dir / "venue_captures" / name)


def test_instruments_of_a_capture_are_those_of_its_frames(data_dir: Path) -> None:
    found = instruments(data_dir / "venue_captures" / "KRAKEN.ws.48.0.gz")
    assert ("kraken", "spot", "X:SCEUR") in found
    assert ("kraken", "spot", "X:BTCCHF") in found
    assert len(found) == 10
