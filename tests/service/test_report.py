"""What the live half tells of itself reaches Prometheus; who falls silent is down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from infra.command.metrics import samples
from infra.watch.exporter import live_collector, text
from infra.watch.live_metrics import LIVE
from lake.clock import ManualClock, SystemClock
from serving.live.report import (
    SERVICE,
    SESSIONS,
    SIGNALS,
    WORKER,
    end_report,
    processes_of,
    read_report,
    saying,
    write_report,
)
from serving.service.report import reported
from tests.service.serving import served, until

FIGURES = {"applied": 7, "claimed": 0, "lost": 1, "aside": 0, "drops": {"quotes": 4, "trades": 2}}


def told(home: Path, clock: ManualClock | SystemClock) -> Mapping[str, float]:
    return samples(text(live_collector(home, clock)))


def health(http: httpx.Client) -> Any:
    return http.get("/v1/health").json()


def test_a_service_tells_what_it_counts(valkey_url: str, ledger_dsn: str, tmp_path: Path) -> None:
    clock, found = SystemClock(), dict[str, float]()
    with served(valkey_url, tmp_path, dsn=ledger_dsn) as service:
        with reported(tmp_path, service.parts, clock), service.http("trade") as http:
            service.tell_fresh("X:BTCUSD", "100")
            order = {"client_order_id": "far", "ticker": "X:BTCUSD", "side": "buy", "size": "1"}
            order |= {"kind": "limit", "price": "900"}  # beyond the collar
            assert http.post("/v1/orders", json=order).status_code == 409
            assert http.post("/v1/kill", json={"reason": "a test"}).status_code == 200
            assert until(lambda: told(tmp_path, clock).get("ticklake_service_killed") == 1)
            worker = {"shards": {"0": {**FIGURES, "received_us": 0}}}
            service.parts.given.processes = partial(processes_of, tmp_path, clock)

            def speaks(*others: str) -> bool:
                """Tell whether these and the worker, which has just spoken, are heard."""
                write_report(tmp_path, WORKER, worker, clock)
                return bool(health(http)["processes"] == dict.fromkeys((WORKER, *others), True))

            def are_up() -> bool:
                """Tell whether the service and its worker have spoken of late, as metrics say."""
                found.update(told(tmp_path, clock))
                names = ("ticklake_service_up", 'ticklake_live_up{shard="0"}')
                return all(found.get(name) == 1 for name in names)

            with saying(tmp_path, SIGNALS, clock), saying(tmp_path, SESSIONS, clock):
                assert until(lambda: speaks(SIGNALS, SESSIONS) and are_up())
            assert until(speaks)
        assert read_report(tmp_path, SERVICE, clock) is None
    assert sum(v for k, v in found.items() if k.startswith("ticklake_service_breaches_total")) >= 1
    assert found['ticklake_live_dropped_frames_total{kind="trades",shard="0"}'] == 2
    wanted = {name for each in LIVE for name in each.sample_names}
    assert {name.partition("{")[0] for name in found} == wanted


def test_who_falls_silent_is_down_and_who_ends_is_forgotten(tmp_path: Path) -> None:
    clock = ManualClock()
    write_report(tmp_path, SERVICE, {"text": ""}, clock)
    said = {"shards": {"3": {**FIGURES, "received_us": clock.now_us()}}}
    write_report(tmp_path, WORKER, said, clock)
    assert told(tmp_path, clock)['ticklake_live_up{shard="3"}'] == 1
    clock.sleep(60)
    found = told(tmp_path, clock)
    assert (found["ticklake_service_up"], found['ticklake_live_up{shard="3"}']) == (0, 0)
    write_report(tmp_path, SIGNALS, {}, clock)
    assert processes_of(tmp_path, clock) == {WORKER: False, SIGNALS: True}
    assert told(tmp_path, clock)["ticklake_signals_up"] == 1
    end_report(tmp_path, SIGNALS)
    assert found['ticklake_live_tick_age_seconds{shard="3"}'] == 60
    end_report(tmp_path, WORKER)
    end_report(tmp_path, SERVICE)
    assert told(tmp_path, clock) == {}
    (tmp_path / "run/live/worker.json").write_text(json.dumps({"said": 1}))
    assert told(tmp_path, clock) == {}
