"""A small lakehouse for tests of the path: real PostgreSQL, real files, real processes.

`journal()` plays the socket reader, `move()` runs the mover as a process, with faults at named
steps if asked, and `assert_whole()` is the oracle: what is stored is the decode of the journal,
each event once, and `verify` agrees.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lake.feeds.codec import INDEX_BITS, Frames
from lake.feeds.massive import MassiveCodec
from lake.ingest import control
from lake.journal.journal import Journal
from lake.journal.reader import JournalReader
from lake.steps import Steps
from lake.verify.report import Report
from lake.verify.verify import verify
from lake.views.client import Client
from lake.warehouse import Folder, Warehouse

ROOT = Path(__file__).resolve().parents[2]
MOVE_S_MAX = 240
NOW_MS = 1_760_000_000_000


@dataclass
class Lakehouse:
    """One shard's world."""

    dsn: str
    folder: Path
    claims: tuple[str, ...] = ("sim|*",)
    settings: dict[str, str] = field(default_factory=dict)
    warehouse: Warehouse | None = None

    @property
    def place(self) -> Warehouse:
        """Where the lake's files lie; else in the folder."""
        return self.warehouse or Folder(self.folder / "warehouse")

    @property
    def journal_folder(self) -> Path:
        return self.folder / "journal" / "shard-0"

    def open_journal(self, steps: Steps | None = None) -> Journal:
        return Journal(
            self.journal_folder,
            0,
            segment_bytes_max=200_000,
            bytes_max=1 << 30,
            steps=steps,
        )

    def journal(self, *batches: list[bytes], connection: int = 0, up: bool = True) -> None:
        """Make frames durable, a flush per batch."""
        journal = self.open_journal()
        if up:
            record = control.dump(control.Up(connection, NOW_MS * 1000))
            journal.append("sim", connection, [record], [NOW_MS * 1000], control=True)
        for frames in batches:
            journal.append("sim", connection, frames, [NOW_MS * 1000] * len(frames))
            journal.flush()
        journal.close()

    def start(self, faults: str = "", **settings: str) -> subprocess.Popen[str]:
        """Start a mover process."""
        order = {
            "dsn": self.dsn,
            "warehouse": self.place.order(),
            "journal": str(self.folder / "journal"),
            "claims": list(self.claims),
        }
        fast = {"TICKLAKE_HOT_BATCH_MS": "1", "TICKLAKE_LAKE_COMMIT_MS": "50"}
        process = subprocess.Popen(
            [sys.executable, "-m", "lake.ingest.mover_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **fast, **self.settings, **settings, "TICKLAKE_FAULT_PLAN": faults},
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        return process

    def move(self, faults: str = "", **settings: str) -> int:
        """Run a mover until it has drained or died; return its exit code."""
        process = self.start(faults, **settings)
        return self.drain(process)

    def drain(self, process: subprocess.Popen[str]) -> int:
        """Ask a mover to finish and wait for it."""
        try:
            process.communicate("drain\n", timeout=MOVE_S_MAX)
        except BrokenPipeError:
            process.wait(MOVE_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return int(process.returncode)

    def decoded(self) -> dict[str, list[dict[str, Any]]]:
        """Return what the journal decodes to by the reference, each trade once."""
        reader = JournalReader(self.journal_folder, 0)
        rows: dict[str, list[dict[str, Any]]] = {}
        seen: set[tuple[str, str, str, str]] = set()
        at = 1
        while runs := reader.read(at, frames_max=10_000, bytes_max=1 << 26):
            for run in runs:
                at = run.frames.last_frame + 1
                if not run.control:
                    self._decode(run.frames, rows, seen)
        reader.close()
        return rows

    def _decode(
        self,
        frames: Frames,
        rows: dict[str, list[dict[str, Any]]],
        seen: set[tuple[str, str, str, str]],
    ) -> None:
        decoded = MassiveCodec("sim").decode(frames)
        for dataset, table in {**decoded.tables, "quarantine": decoded.quarantine}.items():
            for row in table.to_pylist():
                key = (
                    row.get("exchange"),
                    row.get("market"),
                    row.get("ticker"),
                    row.get("trade_id"),
                )
                if dataset == "crypto_trades" and row["trade_id"] is not None:
                    if key in seen:
                        continue
                    seen.add(key)
                rows.setdefault(dataset, []).append(row)

    def stored(self, view: str) -> list[dict[str, Any]]:
        """Return a view's rows, seq ascending."""
        with Client(self.dsn, self.place) as client:
            return rows_of(client, view)

    def verified(self) -> Report:
        """Return what verify says of all tiers."""
        return verify(dsn=self.dsn, warehouse=self.place)

    def assert_whole(self) -> None:
        """The oracle."""
        expected = self.decoded()
        with Client(self.dsn, self.place) as client:  # one for all: it takes longer than a query
            for dataset in ("crypto_trades", "crypto_quotes", "crypto_aggregates", "quarantine"):
                for view in (dataset, f"lake.{dataset}", f"hot.{dataset}"):
                    assert_once(view, rows_of(client, view), expected.get(dataset, []))
        report = self.verified()
        assert report.holds, [str(fault) for fault in report.faults]


def rows_of(client: Client, view: str) -> list[dict[str, Any]]:
    """Return a view's rows, seq ascending."""
    return client.arrow(f"SELECT * FROM {view} ORDER BY seq").to_pylist()


def assert_once(
    view: str, found: Sequence[dict[str, Any]], wanted: Sequence[dict[str, Any]]
) -> None:
    """Assert that a view's rows are these, each once."""
    counts = Counter(row["seq"] for row in found)
    doubled = [seq for seq, count in counts.items() if count > 1]
    assert not doubled, f"{view}: doubled at frames {[s >> INDEX_BITS for s in doubled]}"
    assert found == wanted, f"{view}: {len(found)} rows of {len(wanted)}"


def trade(
    trade_id: int, *, pair: str = "BTC-USD", price: float = 100.5, at_ms: int = NOW_MS
) -> str:
    """Return one XT event."""
    return json.dumps(
        {
            "ev": "XT", "pair": pair, "p": price, "t": at_ms, "s": 0.25, "c": [2],
            "i": trade_id, "x": 1, "r": at_ms,
        },
        separators=(",", ":"),
    )  # fmt: skip


def quote(bid: float = 100.0, *, pair: str = "BTC-USD", at_ms: int = NOW_MS) -> str:
    """Return one XQ event."""
    return json.dumps(
        {
            "ev": "XQ", "pair": pair, "bp": bid, "bs": 1.5, "ap": bid + 1, "as": 2,
            "t": at_ms, "x": 1, "r": at_ms,
        },
        separators=(",", ":"),
    )  # fmt: skip


def frame(*events: str) -> bytes:
    """Return a frame of events."""
    return ("[" + ",".join(events) + "]").encode()


def stream(start: int, count: int) -> list[bytes]:
    """Return frames of three trades and two quotes each."""
    return [
        frame(
            *(trade(3 * n + k, price=100 + n / 8, at_ms=NOW_MS - 5000 + n) for k in range(3)),
            quote(100 + n / 4, at_ms=NOW_MS - 5000 + n),
            quote(200 + n / 4, pair="ETH-USD", at_ms=NOW_MS - 5000 + n),
        )
        for n in range(start, start + count)
    ]
