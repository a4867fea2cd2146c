"""Upkeep: cycles beside running ingest, its cost as the lake grows, and its bytes a second.

    python benchmarks/upkeep.py [--cycles 1000] [--units 100] [--rows 400000] [--rate 2000]
        [--only bytes|growth|cycles] [--json]

Cycles: a simulated exchange and an ingest run, every table is kept again and again; at the end a
release must read the same, `verify` must hold, and no file may be unaccounted for. Lag is what the
ingest says of itself, without cycles and with. Growth: a table gets unit after unit, a day each,
with what a committer does after commits: merging the days they touched, expiry, removal. What looks
at the whole table on purpose, the plan of all days each minute and the listing for orphans each
hour (lake.ingest.keep_loop), grows with it, and is timed by itself at the first units and the last.
Bytes a second: one merge beside reading the same files and writing the same file, and nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.commits import DATASET, rows_of
from flows.small_files_to_large import KEPT_DATASETS, keep
from infra.servers.embedded import down, up
from infra.servers.process import wait_until
from lake.clock import SystemClock
from lake.contracts.contract import load
from lake.feeds.scaled import decimals
from lake.hot.lease import COMMITTER, take
from lake.ingest.lake_files import RemovalBook
from lake.ingest.report import read_reports
from lake.releases.release import LAST_DATASET, create, parts_of
from lake.tables.account import unaccounted
from lake.tables.catalog import open_catalog
from lake.tables.data_file import DAY_US, ROW_GROUP_ROWS, parquet_options
from lake.tables.lake_table import LakeTable
from lake.tables.names import NAMESPACE
from lake.tables.upkeep import Upkeep, UpkeepLimits
from lake.verify.verify import verify
from lake.views.client import Client
from lake.warehouse import warehouse_of

CLOCK = SystemClock()
AT = pa.timestamp("us", "UTC")
RELEASE = "pinned"
START_S_MAX = 120.0
GRACE_S, SAMPLE_S = 5.0, 0.25
MERGE_FILES, TRIES = 20, 3
COMMITS_PER_UNIT = 48
FIRST_UNITS = 10
GROWTH_MAX, OVER_RAW_MIN, LAG_MAX = 1.2, 0.7, 2.0
"""What was promised."""


def hash_of_release(home: Path, dsn: str) -> str:
    """Return a digest of every row of every dataset of the release."""
    digest = hashlib.sha256()
    with psycopg.connect(dsn) as connection:
        datasets = [part.dataset for part in parts_of(connection, RELEASE)]
    with Client(dsn, warehouse_of(home), release=RELEASE) as client:
        for dataset in datasets:
            for batch in client.arrow(f"FROM {dataset} ORDER BY ALL").to_batches():
                digest.update(repr(batch.to_pylist()).encode())
    return digest.hexdigest()


def command(*words: str, home: Path) -> subprocess.Popen[bytes]:
    """Start the command."""
    return subprocess.Popen(
        [sys.executable, "-m", "infra.command.main", *words, "--home", str(home)],
        stdout=subprocess.DEVNULL,
        stderr=(home / "log" / f"{words[0]}.txt").open("wb"),
    )


@contextmanager
def ingest(home: Path, rate: int, dsn: str) -> Iterator[None]:
    """Run an exchange and an ingest of it, once trades come to the lake; leaving drains it."""
    exchange = command("sim", "--rate", str(rate), home=home)
    time.sleep(2)
    taking = command("ingest", "sim", home=home)
    try:
        assert wait_until(CLOCK, lambda: has_trades(home, dsn), START_S_MAX), "no trade came"
        yield
    finally:
        for process, seconds_max in ((taking, 120), (exchange, 30)):
            process.send_signal(2)
            process.wait(seconds_max)


class Lags:
    """Samples what ingest says of its lags, in milliseconds."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stop = threading.Event()
        self.hot: list[float] = []
        self.lake: list[float] = []
        self._thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            for report in read_reports(self._home, CLOCK):
                self.hot.append(report.status["hot_lag_ms"])
                self.lake.append(report.status["lake_lag_ms"])

    def __enter__(self) -> Lags:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def figures(self, name: str) -> dict[str, float]:
        """Return medians and 99th percentiles."""
        found = {}
        for tier, samples in (("hot", self.hot), ("lake", self.lake)):
            ordered = sorted(samples)
            found[f"{tier}_lag_{name}_p50_ms"] = round(statistics.median(ordered), 1)
            found[f"{tier}_lag_{name}_p99_ms"] = round(ordered[int(len(ordered) * 0.99)], 1)
        return found


def keep_all(home: Path, dsn: str, grace_s: float, sweep_age_s: float | None = None) -> list[Any]:
    """Keep every table once."""
    place = warehouse_of(home)
    return [
        keep(dsn, place, CLOCK, dataset, grace_s=grace_s, sweep_age_s=sweep_age_s)
        for dataset in KEPT_DATASETS
    ]


def files_unaccounted(home: Path, dsn: str) -> int:
    """Count files that nothing names."""
    found = 0
    with (
        psycopg.connect(dsn, autocommit=True) as connection,
        closing(open_catalog(dsn, warehouse_of(home))) as catalog,
    ):
        for dataset in KEPT_DATASETS:
            if catalog.table_exists((NAMESPACE, dataset)):
                table = catalog.load_table((NAMESPACE, dataset))
                found += len(unaccounted(table, RemovalBook(connection).waiting(dataset)))
    return found


def has_trades(home: Path, dsn: str) -> bool:
    """Tell whether all that a commit brings has come as far as the lake."""
    with closing(open_catalog(dsn, warehouse_of(home))) as catalog:
        name = (NAMESPACE, LAST_DATASET)
        return catalog.table_exists(name) and bool(catalog.load_table(name).current_snapshot())


def measure_cycles(cycles: int, rate: int, home: Path, dsn: str) -> dict[str, Any]:
    """Keep all tables beside ingest; return the figures."""
    merged = removed = 0
    with ingest(home, rate, dsn):
        create(dsn, warehouse_of(home), RELEASE, CLOCK)
        before = hash_of_release(home, dsn)
        with Lags(home) as alone:
            time.sleep(max(20.0, min(60.0, cycles / 4)))
        with Lags(home) as beside:
            start = time.perf_counter()
            for number in range(cycles):
                kept = keep_all(home, dsn, GRACE_S, 600 if number % 60 == 59 else None)
                merged += sum(each.files_merged for each in kept)
                removed += sum(each.files_removed for each in kept)
                if number % 50 == 49:
                    print(f"{number + 1:,} cycles", file=sys.stderr)
            took_s = time.perf_counter() - start
    keep_all(home, dsn, 0, 0)
    report = verify(home)
    figures = {**alone.figures("alone"), **beside.figures("beside")}
    return {
        "cycles": cycles,
        "cycle_ms": round(took_s * 1000 / cycles, 1),
        "files_merged": merged,
        "files_removed": removed,
        "files_unaccounted": files_unaccounted(home, dsn),
        "release_is_the_same": hash_of_release(home, dsn) == before,
        "events": report.events,
        "verify_holds": report.holds,
        **figures,
        **{
            f"{tier}_lag_ratio": round(
                figures[f"{tier}_lag_beside_p50_ms"]
                / max(1.0, figures[f"{tier}_lag_alone_p50_ms"]),
                2,
            )
            for tier in ("hot", "lake")
        },
    }


def measure_growth(units: int, rows: int, home: Path, dsn: str) -> dict[str, Any]:
    """Append unit after unit, a day each, and keep the table; return its cost by unit."""
    costs: list[float] = []
    sizes: list[int] = []
    whole: list[float] = []
    listed: list[float] = []
    per_commit = rows // COMMITS_PER_UNIT
    with psycopg.connect(dsn, autocommit=True) as connection:
        lease = take(connection, COMMITTER)
        assert lease is not None
        catalog = open_catalog(dsn, warehouse_of(home), epoch=lease.epoch)
        table = LakeTable(catalog, DATASET, epoch=lease.epoch)
        lock = threading.Lock()
        limits = UpkeepLimits()
        upkeep = Upkeep(
            catalog, DATASET, load(DATASET).sort, epoch=lease.epoch, commit_lock=lock, limits=limits
        )
        book = RemovalBook(connection)
        for unit in range(units):
            spent = 0.0
            for number in range(COMMITS_PER_UNIT):
                at = unit * COMMITS_PER_UNIT + number
                table.refresh()
                table.append(day_of(at * per_commit, per_commit, unit), {0: at + 1})
                if number % limits.merge_factor == limits.merge_factor - 1:
                    start = time.process_time()
                    days = table.touched_days()
                    while (merged := upkeep.merge(days)) is not None:
                        book.freed(DATASET, merged.freed)
                    book.freed(DATASET, upkeep.expire())
                    due = book.due(DATASET, 0)
                    upkeep.remove(due)
                    book.removed(due)
                    spent += time.process_time() - start
            if unit in (FIRST_UNITS, units - 1):
                whole.append(cpu_s(upkeep.merge))
                listed.append(cpu_s(lambda: upkeep.orphans(0)))
            costs.append(spent)
            sizes.append(per_commit * COMMITS_PER_UNIT)
            if unit % 10 == 9:
                print(f"{unit + 1} units, {spent:.2f} s", file=sys.stderr)
        catalog.close()
    first = statistics.median(costs[: min(FIRST_UNITS, units)])
    last = statistics.median(costs[-min(FIRST_UNITS, units) :])
    return {
        "units": units,
        "rows_per_unit": sizes[0],
        "upkeep_cpu_s_first_units": round(first, 3),
        "upkeep_cpu_s_last_units": round(last, 3),
        "growth_ratio": round(last / first, 3),
        "whole_plan_cpu_s_first_and_last": whole,
        "orphans_cpu_s_first_and_last": listed,
    }


def cpu_s(work: Callable[[], object]) -> float:
    """Return the CPU time of some work in this process."""
    start = time.process_time()
    work()
    return round(time.process_time() - start, 4)


def day_of(start: int, count: int, unit: int) -> pa.Table:
    """Return trades of one day, a day a unit: prices walk, sizes and times are of no pattern.

    The same arguments give the same trades.
    """
    rows = rows_of(start, count)
    chance = np.random.default_rng([unit, start])
    first = (1_760_000_000_000_000 // DAY_US + unit) * DAY_US
    at = first + np.cumsum(chance.integers(1, 2_000, count))
    values = {
        "event_time": pa.array(at, AT),
        "received_time": pa.array(at + chance.integers(500, 90_000, count), AT),
        "price": decimals(30_000 * 10**10 + np.cumsum(chance.integers(-50, 51, count)) * 10**8),
        "size": decimals(chance.integers(1, 10**7, count) * 10**5),
        "side": pa.array(np.where(chance.integers(0, 2, count) == 0, "buy", "sell")),
        "ticker": pa.array([f"X:T{i}USD" for i in chance.integers(0, 20, count).tolist()]),
    }
    for name, column in values.items():
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), column)
    return rows


def measure_bytes(rows: int, home: Path, dsn: str) -> dict[str, Any]:
    """Merge files, and rewrite the same files raw; return bytes a second of either."""
    rates: dict[str, list[float]] = {"merge": [], "raw": []}
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DELETE FROM market.leases WHERE name = %s", (COMMITTER,))
        lease = take(connection, COMMITTER)
    assert lease is not None
    with closing(open_catalog(dsn, warehouse_of(home), epoch=lease.epoch)) as catalog:
        upkeep = Upkeep(
            catalog,
            DATASET,
            load(DATASET).sort,
            epoch=lease.epoch,
            commit_lock=threading.Lock(),
            limits=UpkeepLimits(merge_factor=MERGE_FILES),
        )
        table = LakeTable(catalog, DATASET, epoch=lease.epoch)
        for number in range(TRIES):
            while upkeep.merge() is not None:
                continue
            for part in range(MERGE_FILES):
                table.refresh()
                at = (number * MERGE_FILES + part) * (rows // MERGE_FILES)
                table.append(day_of(at, rows // MERGE_FILES, 500 + number), {0: 10**6 + at})
            paths = newest([task.file.file_path for task in table.table.scan().plan_files()])
            start = time.perf_counter()
            merged = upkeep.merge()
            took = time.perf_counter() - start
            assert merged is not None
            rates["merge"].append(merged.bytes / took)
            (written,) = newest(
                [task.file.file_path for task in upkeep.load().scan().plan_files()], 1
            )
            rates["raw"].append(merged.bytes / raw_rewrite(paths, written, home / "raw.parquet"))
    merge, raw = (statistics.median(rates[name]) for name in ("merge", "raw"))
    return {
        "merge_bytes_per_s": round(merge),
        "raw_bytes_per_s": round(raw),
        "merge_over_raw": round(merge / raw, 3),
    }


def newest(paths: list[str], count: int = MERGE_FILES) -> list[str]:
    """Return the files written last, as plain paths."""
    plain = [path.removeprefix("file://") for path in paths]
    return sorted(plain, key=lambda path: Path(path).stat().st_mtime_ns)[-count:]


def raw_rewrite(paths: list[str], written: str, target: Path) -> float:
    """Read the small files, and write what the merge wrote of them; return the seconds it took.

    The rows come sorted, from the merge's own file, so that both write the same bytes.
    """
    rows = pq.read_table(written, partitioning=None)
    start = time.perf_counter()
    for path in paths:
        pq.read_table(path, partitioning=None)
    options = parquet_options(rows.schema, compact=True, rows=rows.num_rows)
    with pq.ParquetWriter(target, rows.schema, **options) as writer:
        writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)
    return time.perf_counter() - start


def main() -> int:
    """Run and print; end with 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cycles", type=int, default=1_000)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--rows", type=int, default=400_000, help="rows of a unit and of a merge")
    parser.add_argument("--rate", type=int, default=2_000, help="events a second of the ingest")
    parser.add_argument("--only", choices=("bytes", "growth", "cycles"), help="this part alone")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    parts: dict[str, Callable[[Path, str], dict[str, Any]]] = {
        "bytes": lambda home, dsn: measure_bytes(options.rows, home, dsn),
        "growth": lambda home, dsn: measure_growth(options.units, options.rows, home, dsn),
        "cycles": lambda home, dsn: measure_cycles(options.cycles, options.rate, home, dsn),
    }
    for name, part in parts.items():
        if options.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "home"
            try:
                found |= part(home, up(home).state["postgres"]["dsn"])
            finally:
                down(home)
    print(
        json.dumps(found)
        if options.json
        else "\n".join(f"{name:>26} {value}" for name, value in found.items())
    )
    held = (
        found.get("release_is_the_same", True)
        and found.get("verify_holds", True)
        and found.get("files_unaccounted", 0) == 0
        and found.get("growth_ratio", 0) <= GROWTH_MAX
        and found.get("merge_over_raw", 1) >= OVER_RAW_MIN
        and max(found.get("hot_lag_ratio", 0), found.get("lake_lag_ratio", 0)) <= LAG_MAX
    )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
