"""The simulated exchange in a thread, and `ticklake ingest` as a process beside it.

The oracle: what the exchange sent is stored once, or lies inside a recorded gap.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from infra.exchange.exchange import Exchange
from infra.exchange.options import ExchangeOptions
from infra.exchange.order_flow import VENUES
from infra.exchange.pairs import PRICE_UNITS, SIZE_UNITS, pair_names
from infra.servers.process import wait_until
from lake import state
from lake.clock import SystemClock
from lake.ingest.hot_to_lake import BOOKS
from lake.verify.verify import verify
from lake.views.client import Client
from tests.in_thread import InThread

ROOT = Path(__file__).resolve().parents[2]
END_S_MAX = 240.0
START_S_MAX = 180.0
TRANSIT_US = 500_000
"""A frame may be heard so long after it was sent; on a busy machine so much later than others."""

NEVER_S = "600s"
"""Longer than any ingest of a test that is ended by something else."""

CLOSED = "SELECT count(*) > {} AND count(*) = count(gap_to) FROM feed_gaps"
"""Whether there are more gaps than so many, and each has its end."""

KEYS = ("ticker", "exchange", "trade_id", "event_us", "price", "size")
"""What tells one event from another: two quotes of one millisecond differ in what they say."""

Key = tuple[str, str, str | None, int, int, int]


class Market(InThread):
    """A simulated exchange on a free port, from `with` to its end."""

    start_s_max = end_s_max = START_S_MAX

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__()
        self._truth = folder / "truth"
        self._options = ExchangeOptions(port=0, truth=str(self._truth), **options)
        self.url = ""
        self.sent: pl.DataFrame = pl.DataFrame()

    async def serve(self, stop: asyncio.Event) -> None:
        exchange = Exchange(self._options)
        self.url = await exchange.start()
        self._ready.set()
        await exchange.serve(stop)
        await exchange.stop()

    def close(self) -> None:
        """End the exchange and read what it sent: place, KEYS, trade, sent_us; as sent."""
        if not self._thread.is_alive():
            return
        super().close()
        names = [f"X:{name.replace('-', '')}" for name in pair_names(self._options.tickers)]
        log = pl.DataFrame(pl.from_arrow(pa.ipc.open_stream(self._truth.read_bytes()).read_all()))
        self.sent = log.select(
            pl.lit(pl.Series(names)).gather(pl.col("pair")).alias("ticker"),
            pl.lit(pl.Series([f"sim:{x}" for x in VENUES])).gather("venue").alias("exchange"),
            pl.when("trade").then(pl.col("trade_id").cast(pl.String)).alias("trade_id"),
            (pl.col("time_ms") * 1000).alias("event_us"),
            "price",
            "size",
            "trade",
            "sent_us",
        ).with_row_index("place")


@dataclass
class Home:
    """A lake's folder with a database of its own, and the command on it."""

    dsn: str
    path: Path
    settings: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        state.write_state(self.path, {"postgres": {"dsn": self.dsn}})

    def start(self, *words: str, faults: str = "") -> subprocess.Popen[str]:
        """Start `ticklake` with these words."""
        fast = {"TICKLAKE_LAKE_COMMIT_MS": "200", "TICKLAKE_FAULT_PLAN": faults}
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.command.main", *words, "--home", str(self.path)],
            cwd=ROOT,
            env={**os.environ, **fast, **self.settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def close(self) -> None:
        """End what still runs."""
        for process in self.started:
            process.kill()
            process.communicate()

    def ingest(self, *words: str, faults: str = "") -> Ended:
        """Run an ingest to its end."""
        return ended(self.start("ingest", *words, faults=faults))

    def ingest_until(self, query: str, *words: str) -> Ended:
        """Run an ingest until a query's single value is true, however slow the machine is."""
        process = self.start("ingest", *words)
        assert self.shows(query), f"not seen: {query}"
        return interrupted(process)

    def ingest_until_refilled(self, url: str) -> Ended:
        """Run an ingest until the gap that it begins with, and all before, have their ends."""
        return self.ingest_until(CLOSED.format(len(self.gaps())), "sim", "--url", url)

    def rows(self, query: str) -> pl.DataFrame:
        """Return a query's rows."""
        with Client(self.dsn) as client:
            return client.polars(query)

    def stored(self, prefix: str = "", client: Client | None = None) -> pl.DataFrame:
        """Return trades and quotes in the order of seq: KEYS, trade, received_us, seq.

        price and size, of quotes the bid's, are in the exchange's units.
        """

        def rows(dataset: str, trade_id: str, price: str, size: str) -> str:
            return (
                f"SELECT ticker, exchange, {trade_id} AS trade_id,"
                f" epoch_us(event_time) AS event_us, ({price} * {PRICE_UNITS})::bigint AS price,"
                f" ({size} * {SIZE_UNITS})::bigint AS size, {trade_id} IS NOT NULL AS trade,"
                f" epoch_us(received_time) AS received_us, shard, seq FROM {prefix}{dataset}"
            )

        trades = rows("crypto_trades", "trade_id", "price", "size")
        quotes = rows("crypto_quotes", "NULL::varchar", "bid_price", "bid_size")
        query = f"{trades} UNION ALL {quotes} ORDER BY shard, seq"
        return client.polars(query) if client is not None else self.rows(query)

    def gaps(self) -> list[dict[str, Any]]:
        """Return feed_gaps, times in microseconds."""
        times = ("gap_from", "gap_to", "detected_time", "closed_time")
        columns = ", ".join(f"epoch_us({name}) AS {name}" for name in times)
        found = self.rows(
            f"SELECT feed, connection, kind, filled, gap_id, shard, {columns} FROM feed_gaps"
            " ORDER BY gap_from, gap_id"
        )
        return found.to_dicts()

    def shows(self, query: str, seconds: float = START_S_MAX) -> bool:
        """Wait until a query's single value is true."""
        with Client(self.dsn) as client:
            return wait_until(SystemClock(), lambda: bool(client.polars(query).item()), seconds)

    def assert_verified(self) -> int:
        """Assert that verify holds, and that lake and hot hold the same; return its events."""
        report = verify(self.path)
        assert report.holds, [str(fault) for fault in report.faults]
        with Client(self.dsn) as client:  # one for all: to open one takes longer than a query
            whole = self.stored("", client)
            assert whole.equals(self.stored("lake.", client))
            assert whole.equals(self.stored("hot.", client))
            for book in BOOKS:
                hot = client.polars(f"FROM hot.{book} ORDER BY ALL")
                assert hot.equals(client.polars(f"FROM lake.{book} ORDER BY ALL")), book
        return report.events


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What it said on standard error beside its progress: one line, or the test fails."""
        said = self.err.strip().splitlines()
        lines = [line for line in said if not line.startswith("events/s ")]
        assert len(lines) == 1, self.err
        return lines[0]


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait for a command's end."""
    try:
        out, err = process.communicate(timeout=END_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Ended(process.returncode, out, err)


def interrupted(process: subprocess.Popen[str]) -> Ended:
    """Stop a command as Ctrl-C does."""
    process.send_signal(signal.SIGINT)
    return ended(process)


def keys(events: pl.DataFrame) -> list[Key]:
    """Return what identifies each event."""
    return list(events.select(KEYS).iter_rows())


def assert_each_once(stored: pl.DataFrame) -> None:
    """Assert that no trade is stored twice."""
    trades = stored.filter("trade")
    assert len(trades) == trades.select("ticker", "exchange", "trade_id").n_unique()


def missing(sent: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """Return what was sent while we were connected and is not stored, as often as it is missing.

    Connected: from the first stored quote to the last; trades of before may be there, from the
    venue's history. Fails when anything is stored that was not sent, or more often than it was.
    """
    held = Counter(keys(stored))
    gone, heard = [], []
    for place, key in enumerate(keys(sent)):
        if not held[key]:
            gone.append(place)
            continue
        held[key] -= 1
        if key[2] is None:
            heard.append(place)
    extra = [key for key, count in held.items() if count]
    assert not extra, f"{len(extra)} stored and never sent, or doubled: {extra[:5]}"
    return sent[gone].filter(pl.col("place").is_between(heard[0], heard[-1]))


def transit_us(sent: pl.DataFrame, stored: pl.DataFrame) -> int:
    """Return how long a quote was on its way, at most: what was lost was sent after one of those.

    Trades may have come from the venue's history, long after.
    """
    names = ("ticker", "exchange", "event_us", "price", "size")
    first = sent.filter(~pl.col("trade")).group_by(names).agg(pl.col("sent_us").min())
    heard = stored.filter(~pl.col("trade")).join(first, on=names)
    longest = heard.select((pl.col("received_us") - pl.col("sent_us")).max()).item()
    return TRANSIT_US + max(0, longest or 0)


def within(sent: pl.DataFrame, gaps: Sequence[dict[str, Any]], margin_us: int) -> pl.Series:
    """Tell which events were sent inside a gap, or so long before; an open gap has no end."""
    inside = pl.Series([False]).new_from_index(0, len(sent))
    for gap in gaps:
        end_us = gap["gap_to"] if gap["gap_to"] is not None else 1 << 62
        inside |= sent["sent_us"].is_between(gap["gap_from"] - margin_us, end_us + margin_us)
    return inside
