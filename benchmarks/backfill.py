"""Years of history in bulk: a Binance dump to journal and lake, and the proof after it.

    python benchmarks/backfill.py [--trades 2000000] [--days 20] [--json]

Beside it: reading the file alone, and writing its rows as one Parquet file, which is the least that
any way in would have to do. The rate is of the whole: file to the last commit. CPU per row is
of all processes and hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from flows.files_to_journal import take_file
from flows.place import placed
from infra.servers.embedded import down, up
from lake.clock import SystemClock
from lake.history.files import open_file
from lake.settings import Settings
from lake.state import postgres_dsn, read_state
from lake.verify.verify import verify
from lake.views.client import Client

START_MS = 1_680_000_000_000
DAY_MS = 86_400_000


def dump(folder: Path, trades: int, days: int) -> Path:
    """Write a dump of so many trades over so many days; return it."""
    text = folder / "trades.csv"
    step = days * DAY_MS / trades
    duckdb.sql(
        f"""COPY (SELECT 1000000 + i AS id, (28000 + i % 5000 / 10)::DECIMAL(12, 2) AS price,
            (1 + i * 7919 % 100000) / 1000 AS qty, 1.5 AS quote_qty,
            ({START_MS} + i * {step})::BIGINT AS time, i % 2 = 0 AS is_buyer_maker
            FROM range({trades}) AS r (i)) TO '{text}' (HEADER)"""
    )
    path = folder / "um" / "BTCUSDT-trades-2023-03.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        packed.write(text, "BTCUSDT-trades-2023-03.csv")
    text.unlink()
    return path


def read_alone(path: Path, folder: Path) -> tuple[float, float]:
    """Return the seconds of reading the dump, and of writing its rows as Parquet."""
    start = time.perf_counter()
    rows = pa.concat_tables([piece.rows for piece in open_file(path, {}).pieces(0)])
    read_s = time.perf_counter() - start
    start = time.perf_counter()
    pq.write_table(rows, folder / "alone.parquet", compression="zstd")
    return read_s, time.perf_counter() - start


def cpu_s(home: Path) -> tuple[float, float]:
    """Return CPU seconds so far: of this process and its children, of PostgreSQL's processes."""
    ours = sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
    master = read_state(home)["postgres"]["pid"]
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    ticks = 0
    for pid in (str(master), *children):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += sum(map(int, fields[11 : 15 if pid == str(master) else 13]))
    return ours, ticks / os.sysconf("SC_CLK_TCK")


def measure(trades: int, days: int) -> dict[str, Any]:
    """Return the figures."""
    with tempfile.TemporaryDirectory(prefix="ticklake-backfill-") as name:
        folder = Path(name)
        path = dump(folder, trades, days)
        read_s, parquet_s = read_alone(path, folder)
        home = folder / "home"
        up(home, SystemClock())
        try:
            place = placed(Settings(home=home), postgres_dsn(home))
            before = cpu_s(home)
            start = time.perf_counter()
            taken = take_file(path, {}, place, SystemClock())
            whole_s = time.perf_counter() - start
            ours_s, server_s = (b - a for a, b in zip(before, cpu_s(home), strict=True))
            start = time.perf_counter()
            report = verify(home)
            verify_s = time.perf_counter() - start
            with Client(place.dsn, place.warehouse) as client:
                in_lake = client.polars("SELECT count(*) FROM lake.crypto_trades").item()
        finally:
            down(home, SystemClock())
        return {
            "trades": trades,
            "days": days,
            "rows_taken": taken.progress.rows,
            "rows_in_lake": in_lake,
            "verify_holds": report.holds,
            "file_mib": round(path.stat().st_size / 2**20, 1),
            "read_alone_rows_per_s": round(trades / read_s),
            "parquet_alone_rows_per_s": round(trades / parquet_s),
            "file_to_lake_s": round(whole_s, 2),
            "file_to_lake_rows_per_s": round(trades / whole_s),
            "cpu_us_per_row": round(ours_s / trades * 1e6, 2),
            "postgres_cpu_us_per_row": round(server_s / trades * 1e6, 2),
            "load_average": round(os.getloadavg()[0], 1),
            "verify_s": round(verify_s, 2),
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trades", type=int, default=2_000_000)
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.trades, options.days)
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        print(f"{name:28} {value:>14,}" if isinstance(value, int) else f"{name:28} {value:>14}")


if __name__ == "__main__":
    main()
