"""A server that answers over HTTP, as processes of a home: MinIO, Trino, Prefect, MLflow.

Its processes are known by a mark in their environment, which all that it starts inherits: some of
these servers are several processes, and what one of them leaves behind must be found too.
"""

from __future__ import annotations

import hashlib
import http.client
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.servers import ports
from infra.servers.door import LOCAL, Door
from infra.servers.process import (
    Process,
    environment,
    launch,
    processes,
    read_process,
    send,
    tail,
    wait_until,
)
from lake.clock import Clock
from lake.errors import Unavailable

READY_S_MAX = 300.0
"""On an idle machine a first start takes half a minute; one that ends before is not waited for."""

PATIENCE_S_MAX = 20.0
"""A server of the right plan that does not answer for so long is started anew."""

STOP_S_MAX = 15.0
KILL_S_MAX = 5.0
SEEN_S_MAX = 30.0
ANSWER_S_MAX = 2.0
START_ATTEMPTS_MAX = 3
LOOK_AGAIN_S = 0.1

MARK = "STACK_SERVER"
PORT = "STACK_PORT"
PLAN = "STACK_PLAN"


@dataclass(frozen=True)
class Plan:
    """How a server is started on a port: its command line, its environment with the secrets.

    files: configuration that it reads by itself; a server of other ones is started anew.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str]
    files: tuple[Path, ...] = ()

    def digest(self) -> str:
        """Return what tells this plan from another; it says nothing of the secrets in it."""
        parts = [*self.words, *(f"{name}={self.environment[name]}" for name in self.environment)]
        parts += [path.read_text() for path in self.files]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Web:
    """One running server."""

    pid: int
    port: int


@dataclass(frozen=True)
class Kind:
    """A kind of server. word: one of its command line's, in its first process and no other.

    path: answers with status 200, and with `says` in its body, once the server is ready.
    """

    name: str
    word: str
    path: str
    says: bytes
    version: Callable[[], str]


class WebServer:
    """Start, stop and look at one such server of one home (absolute path)."""

    def __init__(self, home: Path, clock: Clock, kind: Kind, door: Door = LOCAL) -> None:
        self._kind = kind
        self.door = door
        self._mark = str(home / kind.name)
        self.log = home / "log" / f"{kind.name}.log"
        self._clock = clock

    def up(self, port: int, plan: Callable[[int], Plan]) -> Web:
        """Start it, or find it started as planned; Unavailable when it does not get ready.

        port: the loopback port to take when it is free.
        """
        found = self._as_planned(plan)
        if found is not None:
            return found
        self.down()
        Path(self._mark).mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(START_ATTEMPTS_MAX):
            port = ports.choose(port, self.door.listen)
            started = self._start(port, plan(port))
            if started is not None:
                return started
            self.down()
            if ports.is_free(port, self.door.listen):  # the port was not what stopped it
                break
        fault = f"not ready ({tail(self.log)})"
        raise Unavailable(self._kind.name, fault, f"see {self.log}")

    def begin(self, port: int, plan: Callable[[int], Plan]) -> int:
        """See that it is on its way as planned, without waiting for it; return its port.

        port: the loopback port to take when it is free; 0 for a process that listens to none.
        """
        planned = self._planned_port(plan)
        if planned is not None:
            return planned
        self.down()
        Path(self._mark).mkdir(mode=0o700, parents=True, exist_ok=True)
        port = ports.choose(port) if port else 0
        self._launch(port, plan(port))
        return port

    def down(self) -> bool:
        """Stop it and all that it started, by force when that takes too long.

        False when it wasn't running.
        """
        was = self.process() is not None
        for number, seconds_max in ((signal.SIGTERM, STOP_S_MAX), (signal.SIGKILL, KILL_S_MAX)):
            for each in self.group():
                send(each.pid, number)
            if self._gone(seconds_max):
                break
        return was

    def group(self) -> list[Process]:
        """Return all processes of the server."""
        return [p for p in processes() if environment(p.pid).get(MARK) == self._mark]

    def process(self) -> Process | None:
        """Return its first process."""
        return next((p for p in self.group() if self._kind.word in p.words), None)

    def running(self) -> Web | None:
        """Return the server when it answers that it is ready; None while it is down or starting."""
        process = self.process()
        port = environment(process.pid).get(PORT) if process else None
        if process is None or port is None or not self._answers(int(port)):
            return None
        return Web(process.pid, int(port))

    def version(self) -> str:
        """Return the version of the program."""
        return self._kind.version()

    def _planned_port(self, plan: Callable[[int], Plan]) -> int | None:
        """Return the port of its process; None where there is none, or one of another plan."""
        process = self.process()
        started = environment(process.pid) if process else {}
        if PORT not in started or plan(int(started[PORT])).digest() != started.get(PLAN):
            return None
        return int(started[PORT])

    def _as_planned(self, plan: Callable[[int], Plan]) -> Web | None:
        if self._planned_port(plan) is None:
            return None
        # an overloaded machine is no reason to start it anew
        wait_until(self._clock, lambda: self.running() is not None, PATIENCE_S_MAX)
        return self.running()

    def _launch(self, port: int, plan: Plan) -> int:
        marks = {MARK: self._mark, PORT: str(port), PLAN: plan.digest()}
        base = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": self._mark}
        pid = launch(plan.words, self.log, environment={**base, **plan.environment, **marks})
        # until it shows its words it is still the shell that starts it
        wait_until(self._clock, lambda: bool(self.process() or not read_process(pid)), SEEN_S_MAX)
        return pid

    def _start(self, port: int, plan: Plan) -> Web | None:
        pid = self._launch(port, plan)

        def settled() -> bool:
            self._clock.sleep(LOOK_AGAIN_S)
            return read_process(pid) is None or self.running() is not None

        wait_until(self._clock, settled, READY_S_MAX)
        return self.running()

    def _answers(self, port: int) -> bool:
        connection = self._connection(port)
        try:
            connection.request("GET", self._kind.path)
            answer = connection.getresponse()
            return answer.status == http.HTTPStatus.OK and self._kind.says in answer.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _connection(self, port: int) -> http.client.HTTPConnection:
        trusting = self.door.trusting()
        if trusting is None:
            return http.client.HTTPConnection(self.door.name, port, timeout=ANSWER_S_MAX)
        return http.client.HTTPSConnection(
            self.door.name, port, timeout=ANSWER_S_MAX, context=trusting
        )

    def _gone(self, seconds_max: float) -> bool:
        return wait_until(self._clock, lambda: not self.group(), seconds_max)
