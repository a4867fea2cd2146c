"""Issue 7, part 11: metrics by TLS, where a setting says so."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.request import urlopen

import pytest

from infra.servers.certificates import lay_out
from infra.servers.door import MADE
from infra.watch.exporter import live_collector, serving
from lake.clock import SystemClock
from lake.errors import BadInput
from serving.live.report import SIGNALS, write_report

CLOCK = SystemClock()
HERE = "127.0.0.1"


def test_metrics_are_served_by_tls_and_not_without(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    lay_out(folder, ["localhost", HERE], MADE, CLOCK)
    write_report(tmp_path, SIGNALS, {}, CLOCK)
    trusting = ssl.create_default_context(cafile=folder / "ca.crt")
    with serving(live_collector(tmp_path, CLOCK), HERE, 0, str(folder)) as port:
        for _ in range(2):
            with urlopen(f"https://{HERE}:{port}/metrics", timeout=5, context=trusting) as answer:
                assert b"ticklake_signals_up 1.0" in answer.read()
            with pytest.raises(OSError, match=r"."):
                urlopen(f"http://{HERE}:{port}/metrics", timeout=5)
    with (
        pytest.raises(BadInput, match=r"has no server\.crt and server\.key that fit"),
        serving(live_collector(tmp_path, CLOCK), HERE, 0, str(tmp_path)),
    ):
        pass
