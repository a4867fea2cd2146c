"""Servers away beside a running `ticklake live` while orders flow, by hand and of strategies.

    python -m tests.service.away HOME [--seconds 30]

PostgreSQL frozen (every process of it stopped), then shut down and started again, for so long each;
Redis emptied, then killed; the ingest killed: each started again after that time.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg

from feature_repo.ledger.event_rows import orders_in_turn
from feature_repo.ledger.order_event import OrderEvent
from infra.command.main import run
from infra.servers import ports
from infra.servers.postgres_server import PostgresServer
from infra.servers.process import send
from infra.servers.valkey_server import ValkeyServer
from lake.clock import SystemClock
from lake.roles import role_dsn
from lake.state import valkey_url
from serving.desk.rests import REST_S_MAX
from serving.session.parts import ShardJournal
from serving.streams.connect import connected
from tests.service.test_verbs import (
    ANSWER_S_MAX,
    ENDS_S_MAX,
    TICKLAKE,
    beside,
    is_whole,
    key_of,
    until,
)

CLOCK = SystemClock()
STRATEGIES = ("buy-and-hold:size=0.01", "moving-average-cross:fast=1,slow=2,short=yes,size=0.01")
BY_HAND = "hand-"
ALL = 2**62
BEFORE_S = 4.0
AGAIN_S_MAX = 60.0
EVERY_S = 0.05
STALE_US = 5_000_000
"""What a price may be old: of RiskLimits, and of a session's frames."""

SLACK_US = 2_000_000
"""A busy machine's, beyond what is promised."""


@dataclass
class Asked:
    """Orders that were asked for by hand: by name, what came of each."""

    placed: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    """Of which no answer came: nobody knows."""


class Client(threading.Thread):
    """Places an order after the other; one that got no answer is asked for again as it was."""

    def __init__(self, url: str, home: Path) -> None:
        super().__init__(daemon=True)
        self._http = httpx.Client(base_url=url, timeout=ANSWER_S_MAX, headers=key_of(str(home)))
        self.asked = Asked()
        self.faults: list[str] = []
        self.ending = threading.Event()

    def run(self) -> None:
        """Ask until told to end."""
        number, again = 0, None
        while not self.ending.wait(EVERY_S):
            try:
                if again is None and (again := self._order(number)) is None:
                    continue
                number += self._is_answered(again)
                again = again if again["client_order_id"] in self.asked.open else None
            except httpx.HTTPError:
                continue  # the service may be slow to answer: the same is asked for again
        self._http.close()

    def _order(self, number: int) -> dict[str, Any] | None:
        """Return an order at a price that is fresh now, to the market and as a limit in turn."""
        rows = [each for each in self._http.get("/v1/prices").json()["prices"] if each["is_fresh"]]
        if not rows:
            return None
        row = rows[number % len(rows)]
        where = {key: row[key] for key in ("ticker", "exchange", "market")}
        side = ("buy", "sell")[number // len(rows) % 2]
        asked = {**where, "client_order_id": f"{BY_HAND}{number}", "side": side, "size": "0.001"}
        if number % 3 == 0:
            asked |= {"kind": "limit", "price": f"{float(row['price']) * 0.97:.4f}", "side": "buy"}
        return asked

    def _is_answered(self, order: dict[str, Any]) -> bool:
        name = order["client_order_id"]
        self.asked.open.add(name)
        answer = self._http.post("/v1/orders", json=order)
        if answer.status_code in (200, 201):
            self.asked.placed.add(name)
        elif answer.status_code == 409:
            # sent again: "the order that is there"; else a limit said no
            known = answer.json().get("order")
            (self.asked.placed if known else self.asked.refused).add(name)
        elif answer.status_code not in (429, 503):
            self.faults.append(f"{answer.status_code} {answer.text}")
            self.asked.refused.add(name)
        else:
            return False
        self.asked.open.discard(name)
        return True


@contextmanager
def live_of(home: Path, *words: str) -> Iterator[str]:
    """Run `ticklake live` in a process of its own, and give its address; end it at the end."""
    log = home / "log" / "live-said.log"
    with log.open("wb") as out:
        call = [*TICKLAKE, "live", "--port", "0", "--home", str(home), *words]
        live = subprocess.Popen(call, stderr=out)

    def address() -> re.Match[str] | None:
        return re.search(r"http://\S+/", log.read_text())

    try:
        until(lambda: address() is not None)
        found = address()
        assert found is not None
        yield found[0]
    finally:
        live.send_signal(signal.SIGINT)
        live.wait(ENDS_S_MAX)


@dataclass
class Sides:
    """What runs in a home beside `live`. stack: ends what is started here."""

    home: Path
    url: str
    stack: ExitStack

    def ingest(self) -> None:
        """Start an ingest."""
        words = ("ingest", "sim", "--url", self.url, "--home", str(self.home))
        self._ingest = self.stack.enter_context(beside(*words))

    def kill_ingest(self) -> None:
        """Kill it, and whatever works for it."""
        self._ingest.kill()
        self._ingest.wait()


@contextmanager
def frozen(sides: Sides) -> Iterator[None]:
    """Stop every process of PostgreSQL, as on a disk that hangs; let them go on at the end."""
    pids = [each.pid for each in PostgresServer(sides.home, CLOCK).group()]
    for pid in pids:
        send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            send(pid, signal.SIGCONT)


@contextmanager
def shut_down(sides: Sides) -> Iterator[None]:
    """Shut PostgreSQL down; start it at the end."""
    assert PostgresServer(sides.home, CLOCK).down()
    try:
        yield
    finally:
        assert run(["up", "--home", str(sides.home)]) == 0


@contextmanager
def emptied(sides: Sides) -> Iterator[None]:
    """Empty Redis: streams, turns, marks and all that is told."""
    with connected(valkey_url(sides.home)) as client:
        client.flushall()
    yield


@contextmanager
def redis_killed(sides: Sides) -> Iterator[None]:
    """Kill Redis; start it at the end."""
    for each in ValkeyServer(sides.home, CLOCK).group():
        send(each.pid, signal.SIGKILL)
    try:
        yield
    finally:
        assert run(["up", "--home", str(sides.home)]) == 0


@contextmanager
def ingest_killed(sides: Sides) -> Iterator[None]:
    """Kill the ingest; start another at the end."""
    sides.kill_ingest()
    try:
        yield
    finally:
        sides.ingest()


Fault = Callable[[Sides], AbstractContextManager[None]]
DATABASE: tuple[Fault, ...] = (frozen, shut_down)
OTHERS: tuple[Fault, ...] = (emptied, redis_killed, ingest_killed)


def trades_through(home: Path, away_s: float, faults: Sequence[Fault]) -> dict[str, int]:
    """Let orders flow through these faults; check the ledger; return what was counted.

    home: of servers that are up.
    """
    port = str(ports.choose(None))
    words = [f"--strategy={each}" for each in STRATEGIES]
    with ExitStack() as stack:
        stack.enter_context(beside("sim", "--port", port, "--rate", "400", "--tickers", "20"))
        sides = Sides(home, f"ws://127.0.0.1:{port}/crypto", stack)
        sides.ingest()
        with live_of(home, *words) as address:
            client = Client(address, home)
            client.start()
            until(lambda: len(client.asked.placed) > 10 and _of_sessions(home) > 0)
            for away in faults:
                CLOCK.sleep(BEFORE_S)
                with away(sides):
                    CLOCK.sleep(away_s)
                _goes_on(home, client)
            CLOCK.sleep(BEFORE_S)
            client.ending.set()
            client.join(2 * ANSWER_S_MAX)
        assert client.faults == []
        _decided_again(home)
    is_whole(str(home))
    return _looked_at(home, client.asked)


def _goes_on(home: Path, client: Client) -> None:
    """Wait until orders are placed again, and a session takes frames that come."""
    placed = len(client.asked.placed)
    until(lambda: len(client.asked.placed) > placed + 5, AGAIN_S_MAX)
    until(lambda: _is_live(home), AGAIN_S_MAX)


def _is_live(home: Path) -> bool:
    """Tell whether a session's newest word is that it takes frames of the stream."""
    lines = (home / "log" / "session.log").read_text().splitlines()
    return " is live" in [line for line in lines if "shard 0" in line][-1]


def _decided_again(home: Path) -> None:
    """Compare the day's sessions with the ledger: none of their orders is lost or twice."""
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    assert run(["live", "--replay", day, "--home", str(home), "--against", "ledger"]) == 0


def _events(home: Path) -> list[OrderEvent]:
    with psycopg.connect(role_dsn(home, "service")) as connection:
        return list(orders_in_turn(connection, ALL))


def _is_made(event: OrderEvent) -> bool:
    return event.event_type == "created"


def _of_sessions(home: Path) -> int:
    """Return how many orders sessions have in the ledger."""
    return sum(1 for each in _events(home) if _is_made(each) and "/" in each.client_order_id)


def _looked_at(home: Path, asked: Asked) -> dict[str, int]:
    """Check that no order is there twice, none is lost, and none rests on what was old."""
    events = _events(home)
    kinds = Counter((each.order_id, each.event_type) for each in events)
    assert [key for key, n in kinds.items() if n > 1 and key[1] != "partially_filled"] == []
    made = {each.client_order_id: each for each in events if _is_made(each)}
    by_hand = {name for name in made if name.startswith(BY_HAND)}
    assert asked.placed - by_hand == set()
    assert by_hand - asked.placed - asked.refused - asked.open == set()
    refused = {each.client_order_id for each in events if each.event_type == "rejected"}
    assert (asked.refused & by_hand) - refused == set()
    heard = Heard(home)
    late = [heard.late_us(each) for name, each in made.items() if name not in refused]
    fills = [each for each in events if each.event_type in ("partially_filled", "filled")]
    filled = {each.client_order_id for each in fills}
    # what the venue took in time is the venue's: it may fill later, at a price of that moment
    taken = [
        each.event_time_us - made[each.client_order_id].event_time_us
        for each in events
        if each.event_type == "accepted" and each.client_order_id in filled
    ]
    counted = {
        "by_hand": len(by_hand),
        "refused_by_hand": len(asked.refused),
        "of_sessions": len(made) - len(by_hand),
        "filled": len(filled),
        "events": len(events),
        "latest_ms": max(late) // 1_000,
        "latest_taken_ms": max(taken) // 1_000,
    }
    assert max(late) <= STALE_US + REST_S_MAX * 1e6 + SLACK_US, counted
    assert max(taken) <= STALE_US + SLACK_US, counted
    return counted


class Heard:
    """When each frame of a home's journal was received."""

    def __init__(self, home: Path) -> None:
        journal = ShardJournal(home / "journal" / "shard-0", 0)
        self._frames: list[int] = []
        self._received_us: list[int] = []
        for _, frames in journal.runs(0, journal.durable()):
            self._frames += range(frames.first_frame, frames.last_frame + 1)
            self._received_us += frames.received_us.tolist()

    def late_us(self, made: OrderEvent) -> int:
        """Return the time from an order's last frame to its event."""
        last = int(json.loads(made.data)["origin"]["ticks"].rpartition("-")[2])
        return made.created_us - self._received_us[bisect_right(self._frames, last) - 1]


def main() -> None:
    """Run it in a home of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    home = given.home.resolve()
    assert run(["up", "--home", str(home)]) == 0
    try:
        print(json.dumps(trades_through(home, given.seconds, (*DATABASE, *OTHERS))))
    finally:
        run(["down", "--home", str(home)])


if __name__ == "__main__":
    main()
