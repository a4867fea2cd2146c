"""ticklake live and keys: a home's ticks reach the service, whoever dies meanwhile."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.command.main import run
from infra.servers.process import processes
from lake.clock import SystemClock
from lake.errors import BadInput, WrongUse
from serving.risk.given_limits import DEFAULTS
from serving.service.api_keys import KeyBook
from serving.service.house import Address
from serving.service.write_audit import WriteAudit

CLOCK = SystemClock()
ENDS_S_MAX = 120.0
ANSWER_S_MAX = 30.0
"""The service itself waits 2 s for frames and 5 s for the ledger, on a busy machine longer."""

HOLDS_S_MAX = 120.0
CANCELLED_US_MAX = 2_000_000
TRIES_MAX = 3
"""A kill is over in that time, once in so many tries: other tests keep the machine busy."""

TICKLAKE = (sys.executable, "-m", "infra.command.main")


def test_keys_are_made_listed_and_revoked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str) -> Any:
        assert run(["keys", *words, "--home", str(tmp_path), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    made = said("add", "desk", "--role", "trade")
    assert made["key"].startswith("tlk_")
    assert said("revoke", made["id"])["revoked_us"]
    (listed,) = said("list")["keys"]
    assert (listed["name"], listed["role"]) == ("desk", "trade")
    assert "hash" not in listed
    assert run(["keys", "revoke", "none", "--home", str(tmp_path)]) == 2


def test_a_line_of_the_audit_that_was_changed_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(holds: bool) -> Any:
        words = ["keys", "audit", "--home", str(tmp_path)]
        assert run([*words, "--json"]) == (0 if holds else 1)
        return json.loads(capsys.readouterr().out)

    assert said(holds=True)["lines"] == 0
    audit = WriteAudit(tmp_path, CLOCK)
    for n in range(3):
        audit.note({"path": f"/v1/{n}"})
    audit.close()
    found = said(holds=True)
    assert (found["lines"], found["first_fault"]) == (3, None)
    audit.path.write_text(audit.path.read_text().replace("/v1/1", "/v1/7"))
    assert said(holds=False)["first_fault"] == 3
    assert run(["keys", "audit", "--home", str(tmp_path)]) == 1
    assert "line 3 does not follow the one before it" in capsys.readouterr().out


def test_nothing_is_reached_from_elsewhere_without_tls(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="TLS"):
        Address("0.0.0.0")
    with pytest.raises(BadInput, match=r"server\.crt"):
        Address("0.0.0.0", tls=tmp_path)


def test_it_needs_the_servers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["live", "--home", str(tmp_path)]) == 1
    assert "ticklake up" in capsys.readouterr().err


@contextmanager
def beside(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a verb in a process of its own; end it at the end."""
    process = subprocess.Popen([*TICKLAKE, *words], stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=ENDS_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
            raise AssertionError(f"{words[0]} does not end; it said: {said[-2_000:]}") from None


@contextmanager
def exchange(home: str, *words: str) -> Iterator[None]:
    """Run the simulated exchange where an ingest of the home looks for it; it listens by then."""
    with beside("sim", "--port", "0", "--home", home, *words):
        until((Path(home) / "run" / "sim.json").exists)
        yield


def until(holds: Any, seconds: float = HOLDS_S_MAX) -> None:
    """Ask ten times a second: who asks more often than it may is refused."""
    end_us = CLOCK.monotonic_us() + int(seconds * 1e6)
    while not holds():
        assert CLOCK.monotonic_us() < end_us, "it does not come to hold"
        CLOCK.sleep(0.1)


def stays_heard(http: httpx.Client, home: str) -> None:
    """Hear of ticks; kill the worker; hear of newer ones."""

    def heard_us() -> int:
        try:
            return int(http.get("/v1/prices").json()["received_us"])
        except httpx.HTTPError:
            return 0

    until(lambda: heard_us() > 0)
    (worker,) = [p for p in processes() if p.words[1:4] == ("-m", "serving.live.run", home)]
    os.kill(worker.pid, signal.SIGKILL)
    before = CLOCK.now_us()
    until(lambda: heard_us() > before)
    assert http.get("/v1/alerts").status_code == 200
    price = http.get("/v1/prices").json()["prices"][0]
    where = {"exchange": price["exchange"], "market": price["market"]}
    assert http.get(f"/v1/bars/{price['ticker']}", params=where).status_code == 200


def placed(http: httpx.Client, name: str, below: float | None = None) -> dict[str, Any]:
    """Place an order at a fresh price, a limit so much below it or at the market; return it.

    On a machine that lags a price may be old by the time it is looked at: what a limit refuses is
    asked for under another id, since that one is used up. 503 says to ask the same again.
    """
    refused = 0
    found: dict[str, Any] = {}

    def is_placed() -> bool:
        nonlocal refused
        rows = [each for each in http.get("/v1/prices").json()["prices"] if each["is_fresh"]]
        if not rows:
            return False
        where = {key: rows[0][key] for key in ("ticker", "exchange", "market")}
        asked = {**where, "client_order_id": f"{name}{refused}", "side": "buy", "size": "0.01"}
        if below is not None:
            asked |= {"kind": "limit", "price": f"{float(rows[0]['price']) * (1 - below):.4f}"}
        answer = http.post("/v1/orders", json=asked)
        assert answer.status_code in (201, 409, 503), answer.text
        said = answer.json()
        refused += answer.status_code == 409 and "order" not in said
        found.update(said.get("order") or {})
        return bool(found)

    until(is_placed)
    return found


def is_refused_above_a_limit(http: httpx.Client, like: dict[str, Any], name: str) -> None:
    """Ask for an order above the limits of a home that says nothing of them."""
    same = {key: like[key] for key in ("ticker", "exchange", "market", "side", "kind", "price")}
    names = (f"{name}-{n}" for n in itertools.count())
    found: dict[str, dict[str, Any]] = {}
    asked: dict[str, Any] = {}

    def is_refused() -> bool:
        """Tell whether it was refused for its size, and not for a price that came late."""
        asked.update({**same, "client_order_id": next(names), "size": "100000000"})
        answer = http.post("/v1/orders", json=asked)
        assert answer.status_code in (409, 503), answer.text
        found.update({each["rule"]: each for each in answer.json().get("breaches", ())})
        return "order_value" in found

    until(is_refused)
    assert found["order_value"]["limit"] == DEFAULTS.order_value
    assert found["order_value"]["measured"] > DEFAULTS.order_value
    assert {"exposure", "total_exposure"} <= {*found}
    kept = http.get(f"/v1/orders/{asked['client_order_id']}").json()["order"]
    assert kept["current_state"] == "rejected"


def killed_us(http: httpx.Client, home: str, order: dict[str, Any]) -> int:
    """Stop trading; return how long it took until an order was over."""
    at = f"/v1/orders/{order['client_order_id']}"
    start_us = CLOCK.monotonic_us()
    assert run(["kill", "--reason", "a test", "--home", home]) == 0
    until(lambda: http.get(at).json()["order"]["current_state"] == "cancelled")
    return CLOCK.monotonic_us() - start_us


def trades(http: httpx.Client, home: str) -> None:
    """Place an order at a price of real frames; the ledger has it, and the kill verb ends all."""
    http.headers.update(key_of(home))
    first = f"/v1/orders/{placed(http, 'first')['client_order_id']}"
    until(lambda: http.get(first).json()["order"]["current_state"] == "filled")
    found = http.get(first).json()["events"]
    kinds = [each["event_type"] for each in found]
    assert (kinds[:2], kinds[-1]) == (["created", "accepted"], "filled")
    assert {*kinds[2:-1]} <= {"partially_filled"}  # the best price may have less than it asks for
    assert re.fullmatch(r"\d+:\d+-\d+", found[0]["origin"]["ticks"])
    took_us: list[int] = []
    while len(took_us) < TRIES_MAX and min(took_us, default=math.inf) > CANCELLED_US_MAX:
        rests = placed(http, f"rests-{len(took_us)}-", below=0.03)
        is_refused_above_a_limit(http, rests, f"too-large-{len(took_us)}")
        took_us.append(killed_us(http, home, rests))
        late = {key: rests[key] for key in ("ticker", "exchange", "market", "side", "size")}
        assert http.post("/v1/orders", json={**late, "client_order_id": "late"}).status_code == 409
        assert run(["kill", "--release", "--home", home]) == 0
    assert min(took_us) <= CANCELLED_US_MAX
    assert run(["ledger", "show", first.rpartition("/")[2], "--home", home]) == 0


def key_of(home: str) -> dict[str, str]:
    _, words = KeyBook(Path(home), CLOCK).add("desk", "trade")
    return {"Authorization": f"Bearer {words}"}


def url_of(live: subprocess.Popen[str]) -> str:
    assert live.stderr is not None
    found = re.search(r"http://\S+/", live.stderr.readline())
    assert found is not None
    return found[0]


def killed(module: str, home: str) -> None:
    """Kill a process beside the service; another is started in its place."""

    def there() -> list[int]:
        return [p.pid for p in processes() if p.words[1:4] == ("-m", module, home)]

    (pid,) = there()
    os.kill(pid, signal.SIGKILL)
    until(lambda: there() not in ([], [pid]))


def is_whole(home: str) -> None:
    """Anchor and verify the ledger."""
    for words in (["anchor"], ["verify", "--segments"]):
        assert run(["ledger", *words, "--home", home]) == 0


def goes_on_after_kill_9(live: subprocess.Popen[str], http: httpx.Client, home: str) -> None:
    """Kill the signals, then the service while an order works; it works on in the next."""
    killed("serving.signals.run", home)
    is_whole(home)
    works = placed(http, "works", below=0.03)
    at = f"/v1/orders/{works['client_order_id']}"
    # one that nobody accepted is not sent again by the next: its price may be old by then
    until(lambda: http.get(at).json()["order"]["current_state"] == "accepted")
    live.kill()
    live.wait()
    is_whole(home)
    with (
        beside("live", "--port", "0", "--home", home) as again,
        httpx.Client(base_url=url_of(again), timeout=ANSWER_S_MAX, headers=key_of(home)) as other,
    ):

        def state() -> str:
            try:
                return str(other.get(at).json()["order"]["current_state"])
            except (httpx.HTTPError, KeyError):
                return ""

        until(lambda: state() in ("accepted", "partially_filled"))
        assert placed(other, "after")
        asked = {"client_order_id": works["client_order_id"]}
        until(lambda: other.post("/v1/orders/cancel", json=asked).status_code in (200, 409))
        until(lambda: state() == "cancelled")
        kinds = [each["event_type"] for each in other.get(at).json()["events"]]
        assert sorted({*kinds}) == sorted(kinds)  # nothing was done twice
    is_whole(home)


def test_ticks_reach_the_service_though_a_worker_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKLAKE_STREAMS", "live")
    home = str(tmp_path / "home")
    assert run(["up", "--home", home]) == 0
    try:
        with (
            exchange(home, "--rate", "200"),
            beside("ingest", "sim", "--home", home),
            beside("live", "--port", "0", "--home", home) as live,
            httpx.Client(base_url=url_of(live), timeout=ANSWER_S_MAX) as http,
        ):
            stays_heard(http, home)
            trades(http, home)
            is_whole(home)
            goes_on_after_kill_9(live, http, home)
        ours = {"serving.live.run", "serving.signals.run"}
        left = [p for p in processes() if ours & {*p.words} and home in p.words]
        assert left == []
    finally:
        run(["down", "--home", home])
