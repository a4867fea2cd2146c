"""Metrics and status of a real ingest over HTTP: what there is, and what is wrong while it is."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from infra.command.metrics import samples
from infra.servers import embedded
from infra.servers.ports import choose
from infra.servers.process import processes, wait_until
from infra.watch.live_metrics import LIVE
from infra.watch.metrics import BY_NAME, markdown
from lake.clock import SystemClock

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "infra" / "config"
CLOCK = SystemClock()
SHOWN_S_MAX = 60.0
"""What is promised is 5 s (benchmarks/outage.py measures it); a test machine may be busy."""

WELL_S_MAX = 180.0
ONLY_SOMETIMES = {
    "ticklake_ingest_ended",  # after a fault
    "ticklake_slot_rows",  # from 50 symbols on
    "ticklake_slot_skew_ratio",
    "ticklake_feed_gaps_open",  # while there are any
    "ticklake_freshness_seconds",  # where the flows' process watches
    "ticklake_completeness_ratio",
    "ticklake_quality_score_ratio",
    "ticklake_promise_kept",
    "ticklake_promise_month_ratio",
    "ticklake_notices_waiting",  # while a receiver is away
    "ticklake_notices_given_up",
    "ticklake_flows_up",  # where flows are begun
    "ticklake_backups",  # where they are on
    "ticklake_backup_age_seconds",
    "ticklake_backup_log_behind_bytes",
    "ticklake_order_audit_holds",  # after an audit, each quarter
    "ticklake_order_audit_coverage_ratio",
    "ticklake_order_audit_timestamp_seconds",
    *(name for each in LIVE for name in each.sample_names),  # while `ticklake live` runs
}
NOT_ON_THE_BOARD = {
    "ticklake_mover_committer",  # its takeovers are shown, by the lease's epoch
    "ticklake_ingest_report_age_seconds",  # shown as up or not
    "ticklake_ingest_ended",  # among the things that are wrong
    "ticklake_journal_frame",  # shown as lags
    "ticklake_hot_frame",
    "ticklake_lake_frame",
    "ticklake_slot_rows",  # shown as their skew
    "ticklake_lake_rows",
    "ticklake_backups",  # shown by age
    "ticklake_verify_timestamp_seconds",
    "ticklake_verify_duration_seconds",
    "ticklake_look_age_seconds",  # of the exporter itself
    "ticklake_look_seconds",
}
NAMED = re.compile(r"\bticklake_\w+")


@dataclass
class Place:
    """A home with servers, exchange, ingest and exporter at work."""

    home: Path
    ingest: subprocess.Popen[str]
    own_url: str
    home_url: str

    def scrape(self, url: str | None = None) -> dict[str, float]:
        """Return the samples of one scrape."""
        with urlopen(url or self.home_url, timeout=WELL_S_MAX) as answer:
            return samples(answer.read().decode())

    def shows(self, name: str, value: float) -> bool:
        """Tell whether the exporter shows a sample with this value by and by."""
        return wait_until(CLOCK, lambda: self.scrape().get(name) == value, SHOWN_S_MAX)

    def status(self) -> tuple[int, dict[str, Any]]:
        """Return the exit code and the document of `ticklake status`."""
        done = run("status", "--home", str(self.home), "--json")
        return done.returncode, json.loads(done.stdout)

    def says(self, kind: str) -> bool:
        """Tell whether `ticklake status` names something of this kind by and by, and ends with 1.

        Every fault that it names has a remedy.
        """

        def named() -> bool:
            code, said = self.status()
            assert all(each["remedy"] for each in said["wrong"])
            return code == 1 and kind in {each["kind"] for each in said["wrong"]}

        return wait_until(CLOCK, named, SHOWN_S_MAX)

    def is_well(self) -> bool:
        """Tell whether all is well again by and by."""
        return wait_until(CLOCK, lambda: self.status()[0] == 0, WELL_S_MAX)

    def mover(self) -> int:
        """Return the pid of the ingest's mover."""
        return next(each.pid for each in processes() if each.parent == self.ingest.pid)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra.command.main", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def start(stack: ExitStack, *words: str) -> subprocess.Popen[str]:
    """Start a verb, ended with the stack."""
    command = [sys.executable, "-m", "infra.command.main", *words]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TICKLAKE_STREAMS": "live"},
    )
    stack.callback(end, process)
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGCONT)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=WELL_S_MAX)
    if process.poll() is None:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Yield the place; each test leaves it well."""
    home = tmp_path_factory.mktemp("watched").resolve() / "home"
    words = ("--home", str(home))
    with ExitStack() as stack:
        embedded.up(home)
        stack.callback(embedded.down, home)
        start(stack, "sim", "--rate", "2k", "--port", "0", "--for", "2h", *words)
        assert wait_until(CLOCK, (home / "run" / "sim.json").exists, WELL_S_MAX)
        own, port = choose(None), choose(None)
        start(stack, "metrics", "--serve", "--port", str(port), *words)
        ingest = start(stack, "ingest", "sim", "--metrics-port", str(own), *words)
        found = Place(
            home, ingest, f"http://127.0.0.1:{own}/metrics", f"http://127.0.0.1:{port}/metrics"
        )
        assert wait_until(CLOCK, lambda: _events(found) > 0, WELL_S_MAX)
        yield found


def _events(place: Place) -> float:
    try:
        return place.scrape().get('ticklake_events_total{fate="stored",feed="sim",shard="0"}', 0.0)
    except OSError:
        return 0.0


def test_an_ingest_serves_its_own_and_the_home_s_exporter_has_them_too(place: Place) -> None:
    own, home = place.scrape(place.own_url), place.scrape()
    assert own['ticklake_ingest_up{shard="0"}'] == home['ticklake_ingest_up{shard="0"}'] == 1
    assert own['ticklake_intake_frames_total{feed="sim",shard="0"}'] > 0
    assert own['ticklake_journal_flush_seconds_count{shard="0"}'] > 0
    assert own['ticklake_stage_seconds_count{shard="0",stage="commit"}'] > 0
    assert home["ticklake_journal_budget_bytes"] > home['ticklake_journal_bytes{shard="0"}'] > 0


def test_every_metric_of_the_list_is_given_and_no_other(place: Place) -> None:
    run("verify", "--home", str(place.home))
    kept = run("retain", "--home", str(place.home), "--json")
    assert kept.returncode == 0, kept.stderr
    assert json.loads(kept.stdout)["moved"] == []

    def given() -> set[str]:
        with urlopen(place.home_url) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            return {sample.name for family in families for sample in family.samples}

    wanted = {name for each in BY_NAME.values() for name in each.sample_names}
    assert wait_until(CLOCK, lambda: wanted - given() <= ONLY_SOMETIMES, WELL_S_MAX), (
        wanted - given() - ONLY_SOMETIMES
    )
    assert given() <= wanted


def test_the_page_of_metrics_is_the_list() -> None:
    assert (ROOT / "infra" / "METRICS.md").read_text().splitlines() == list(markdown())


def test_every_query_of_dashboard_and_rules_is_about_metrics_that_exist() -> None:
    board = json.loads((CONFIG / "grafana" / "ticklake.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    queries += [each["query"] for each in board["templating"]["list"]]
    rules = yaml.safe_load((CONFIG / "prometheus.rules.yml").read_text())
    queries += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    known = {name for each in BY_NAME.values() for name in each.sample_names}
    named = {name for query in queries for name in NAMED.findall(query)}
    assert named <= known
    left_out = {n for n, each in BY_NAME.items() if named.isdisjoint({n, *each.sample_names})}
    assert left_out == NOT_ON_THE_BOARD


def test_a_port_that_is_taken_is_one_sentence(place: Place) -> None:
    port = place.own_url.rpartition(":")[2].removesuffix("/metrics")
    for words in (
        ["metrics", "--serve", "--port", port],
        ["ingest", "sim", "--metrics-port", port],
    ):
        done = run(*words, "--home", str(place.home))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines()[-1] == (
            f"ticklake: metrics on 127.0.0.1:{port}: Address already in use: choose another port"
        )


def test_a_database_that_hangs_shows_and_is_over_when_it_goes_on(place: Place) -> None:
    postmaster = embedded.status(place.home)["postgres"]["pid"]
    frozen = [postmaster, *(each.pid for each in processes() if each.parent == postmaster)]
    for pid in frozen:
        with suppress(ProcessLookupError):  # one of a query may have ended since
            os.kill(pid, signal.SIGSTOP)
    try:
        assert place.says("server")
        assert place.shows('ticklake_server_up{server="postgres"}', 0)
        assert place.says("lag")
    finally:
        for pid in reversed(frozen):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    assert place.is_well()
    assert place.shows('ticklake_server_up{server="postgres"}', 1)


def test_a_database_that_is_killed_shows_and_is_over_when_it_is_started(place: Place) -> None:
    os.kill(embedded.status(place.home)["postgres"]["pid"], signal.SIGKILL)
    assert place.says("server")
    assert place.says("mover")
    assert place.shows('ticklake_server_up{server="postgres"}', 0)
    embedded.up(place.home)
    assert place.is_well()
    assert place.shows('ticklake_wrong{kind="mover"}', 0)


def test_a_mover_that_hangs_shows(place: Place) -> None:
    mover = place.mover()
    os.kill(mover, signal.SIGSTOP)
    try:
        assert place.says("mover")
        assert place.shows('ticklake_mover_up{shard="0"}', 0)
    finally:
        os.kill(mover, signal.SIGCONT)
    assert place.is_well()


def test_an_ingest_that_hangs_shows(place: Place) -> None:
    os.kill(place.ingest.pid, signal.SIGSTOP)
    try:
        assert place.says("ingest")
        assert place.shows('ticklake_ingest_up{shard="0"}', 0)
    finally:
        os.kill(place.ingest.pid, signal.SIGCONT)
    assert place.is_well()


def test_an_ingest_that_is_killed_shows_until_it_is_started_again(place: Place) -> None:
    place.ingest.kill()
    place.ingest.communicate()
    assert place.says("ingest")
    assert place.shows('ticklake_ingest_up{shard="0"}', 0)
    with ExitStack() as stack:
        start(stack, "ingest", "sim", "--home", str(place.home))
        assert place.is_well()
    assert place.status()[1]["ingests"] == []


def test_metrics_are_given_while_nothing_runs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = run("metrics", "--home", str(home))
    assert done.returncode == 0
    assert samples(done.stdout)['ticklake_wrong{kind="server"}'] == 0
