"""PostgreSQL as a plain process of a home."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import conninfo, sql

from infra.servers import ports
from infra.servers.account import Account, account_for, as_we_are
from infra.servers.door import LOCAL, Door
from infra.servers.postgres_files import (
    DATABASE,
    ROLE,
    SUPERUSER,
    Programs,
    cluster_name,
    has_door,
    make_data,
    short_folder,
    socket_folder,
    wheel,
    write_settings,
)
from infra.servers.process import Process, launch, processes, read_process, send, tail, wait_until
from infra.servers.to_end import run_to_end
from lake.clock import Clock
from lake.errors import BadInput, Unavailable
from lake.state import RUN_UP

READY_S_MAX = 60.0
"""Recovery after a crash replays up to max_wal_size; it is waited for this long."""

STOP_S_MAX = 20.0
KILL_S_MAX = 10.0
ORPHAN_S_MAX = 2.0
SEEN_S_MAX = 30.0
CONNECT_S_MAX = 5
ANSWER_S_MAX = 2.0
SSL_REQUEST = (8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big")
START_ATTEMPTS_MAX = 3
UP_ATTEMPTS_MAX = 3


@dataclass(frozen=True)
class Postmaster:
    """What postmaster.pid says of a ready server."""

    pid: int
    port: int
    socket_dir: Path


class PostgresServer:
    """Start, stop and look at the PostgreSQL of one home (absolute path).

    programs: those that it runs; None: the wheel's. door: where it listens.
    """

    def __init__(
        self, home: Path, clock: Clock, programs: Programs | None = None, door: Door = LOCAL
    ) -> None:
        self._programs = programs or wheel()
        self.door = door
        self.data = home / self._programs.folder
        self.log = home / "log" / "postgres.log"
        self._clock = clock

    def up(self, port: int | None, password: str) -> Postmaster:
        """Start it, or find it started; see to its role and database.

        port: the port of last time, taken again when it is free. One that listens at another door
        is started anew. Raises Unavailable when it does not get ready, BadInput when its files are
        of another major.
        """
        if self.process() is not None and not has_door(self.data, self.door):
            self.down()
        for _ in range(UP_ATTEMPTS_MAX):
            process = self.process()
            postmaster = self._await_ready(process.pid) if process else self._start(port)
            if postmaster is None and process is None and self.process() is None:
                break
            if postmaster is not None and self._prepare(postmaster, password):
                return postmaster
        raise Unavailable("PostgreSQL", f"not ready ({tail(self.log)})", f"see {self.log}")

    def recover(self, seconds_max: float) -> Postmaster:
        """Start it on files that a backup left, for nobody but us, and wait until it has recovered.

        Raises Unavailable when it does not come to an end of recovery.
        """
        self._remove_stale()
        process = self._launch(ports.choose(None), self.account())
        postmaster = self._await_ready(process, seconds_max)
        if postmaster is None:
            raise Unavailable(
                "PostgreSQL", f"did not recover ({tail(self.log)})", f"see {self.log}"
            )
        return postmaster

    def down(self) -> bool:
        """Stop it in fast mode, by force when that takes too long; False when it wasn't running."""
        process = self.process()
        if process is not None:
            send(process.pid, signal.SIGINT)
            if not wait_until(self._clock, lambda: self.process() is None, STOP_S_MAX):
                send(process.pid, signal.SIGQUIT)
                wait_until(self._clock, lambda: self.process() is None, KILL_S_MAX)
        self._remove_orphans()
        if self.process() is None:
            shutil.rmtree(short_folder(self.data), ignore_errors=True)  # mostly there is none
        return process is not None

    def process(self) -> Process | None:
        """Return our postmaster, known by its data folder."""
        found = [p for p in processes() if p.words[-2:] == ("-D", str(self.data))]
        found = [p for p in found if p.words[0] == self._program()]
        pids = {p.pid for p in found}
        # a child is seen under its parent's words until it has set its title
        return next((p for p in found if p.parent not in pids), None)

    def group(self) -> list[Process]:
        """Return the postmaster and its children."""
        process = self.process()
        return [p for p in processes() if process and process.pid in (p.pid, p.parent)]

    def running(self) -> Postmaster | None:
        """Return what a ready server says of itself; None while it is down, starting or frozen."""
        process = self.process()
        found = None if process is None else self._read_postmaster(process.pid)
        return found if found is not None and answers(found.port) else None

    def version(self) -> str:
        """Return the version of the programs."""
        words = [*as_we_are(self._programs.usr).becoming, self._program(), "--version"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return done.stdout.split("(PostgreSQL)")[-1].split()[0]

    def account(self) -> Account:
        """Return the account that it runs as."""
        usr = self._programs.usr
        reached = (self.data,) if usr else (self._programs.binaries, self.data)
        return account_for(*reached, usr=usr)

    def run(self, program: str, *words: str, seconds_max: float) -> None:
        """Run one of its programs as ourselves to the end; Unavailable when it fails."""
        path = str(self._programs.binaries / program)
        run_to_end([*as_we_are(self._programs.usr).becoming, path, *words], program, seconds_max)

    def reached_by(self) -> tuple[str, ...]:
        """Return the words by which its programs reach it, over the socket."""
        master = self.running()
        if master is None:
            raise Unavailable("PostgreSQL", "not started", RUN_UP)
        return ("-h", str(master.socket_dir), "-p", str(master.port), "-U", SUPERUSER)

    def _program(self) -> str:
        return str(self._programs.binaries / "postgres")

    def _start(self, port: int | None) -> Postmaster | None:
        account = self.account()
        self._remove_orphans()
        if not (self.data / "PG_VERSION").exists():
            make_data(self.data, account, self._programs)
        self._check_major()
        self._remove_stale()
        for _ in range(START_ATTEMPTS_MAX):
            port = ports.choose(port)
            pid = self._launch(port, account)
            postmaster = self._await_ready(pid)
            if postmaster is not None or ports.is_free(port):
                return postmaster
        return None

    def _prepare(self, postmaster: Postmaster, password: str) -> bool:
        """See to role and database; False when the server died under us, as a killed one does."""
        try:
            ensure_database(postmaster, password)
        except Unavailable:
            process = self.process()
            if process is not None and process.pid == postmaster.pid:
                raise
            return False
        return True

    def _launch(self, port: int, account: Account) -> int:
        sockets = socket_folder(self.data, port, account)
        write_settings(self.data, port, sockets, account, self._programs, self.door)
        return launch(
            [*account.becoming, self._program(), "-D", str(self.data)],
            self.log,
            environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        )

    def _await_ready(self, pid: int, seconds_max: float = READY_S_MAX) -> Postmaster | None:
        def settled() -> bool:
            process = self.process()
            return process is None or self._read_postmaster(process.pid) is not None

        # until it shows its words it is still the shell that starts it
        wait_until(self._clock, lambda: bool(self.process() or not read_process(pid)), SEEN_S_MAX)
        wait_until(self._clock, settled, seconds_max)
        return self._read_postmaster(pid) if self.process() is not None else None

    def _read_postmaster(self, pid: int) -> Postmaster | None:
        try:
            lines = [line.strip() for line in self._pid_file().read_text().splitlines()]
        except FileNotFoundError:
            return None
        if len(lines) < 8 or lines[7] != "ready" or lines[0] != str(pid):
            return None
        return Postmaster(pid, int(lines[3]), Path(lines[4]))

    def _pid_file(self) -> Path:
        return self.data / "postmaster.pid"

    def _check_major(self) -> None:
        stored = (self.data / "PG_VERSION").read_text().strip()
        if self.version().split(".")[0] != stored:
            raise BadInput(
                str(self.data),
                f"made by PostgreSQL {stored}, the installed one is {self.version()}",
                "install the version it was made with, or use a new --home",
            )

    def _remove_stale(self) -> None:
        """Remove what a killed server left: nobody of ours runs, whoever has that pid now."""
        self._pid_file().unlink(missing_ok=True)
        for rest in self.data.glob(".s.PGSQL.*"):
            rest.unlink(missing_ok=True)

    def _remove_orphans(self) -> None:
        """End backends whose postmaster was killed; they hold the shared memory."""
        if self.process() is not None:
            return
        if not wait_until(self._clock, lambda: not self._orphans(), ORPHAN_S_MAX):
            for orphan in self._orphans():
                send(orphan.pid, signal.SIGKILL)
            wait_until(self._clock, lambda: not self._orphans(), KILL_S_MAX)

    def _orphans(self) -> list[Process]:
        title = re.compile(rf"postgres: {cluster_name(self.data)}: ")
        return [p for p in processes() if title.match(p.words[0])]


def answers(port: int) -> bool:
    """Say whether a server on this port answers now: to the question that needs no password."""
    try:
        with socket.create_connection((ports.LOOPBACK, port), timeout=ANSWER_S_MAX) as connection:
            connection.sendall(SSL_REQUEST)
            return connection.recv(1) in (b"S", b"N")
    except OSError:
        return False


def dsn(postmaster: Postmaster, password: str, door: Door = LOCAL) -> str:
    """Return the libpq URI by the door; also fits SQLAlchemy, ADBC and DuckDB."""
    place = f"{door.name}:{postmaster.port}/{DATABASE}{door.libpq}"
    return f"postgresql://{ROLE}:{password}@{place}"


def admin_dsn(postmaster: Postmaster) -> str:
    """Return the superuser's connection string: over the socket, whose folder is its owner's."""
    return conninfo.make_conninfo(
        host=str(postmaster.socket_dir),
        port=postmaster.port,
        user=SUPERUSER,
        dbname=DATABASE,
        connect_timeout=CONNECT_S_MAX,
    )


def ensure_database(postmaster: Postmaster, password: str) -> None:
    """Create the role and database that are missing, and set the password."""
    try:
        with psycopg.connect(
            host=str(postmaster.socket_dir),
            port=postmaster.port,
            user=SUPERUSER,
            dbname="postgres",
            connect_timeout=CONNECT_S_MAX,
            autocommit=True,
        ) as connection:
            ensure_role(connection, password)
            exists = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone()
            if exists is None:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(
                        sql.Identifier(DATABASE), sql.Identifier(ROLE)
                    )
                )
    except psycopg.errors.ConnectionTimeout as error:
        fault = f"process {postmaster.pid} does not answer: it is frozen or overloaded"
        remedy = f"wait, or: kill -9 {postmaster.pid}; ticklake up"
        raise Unavailable("PostgreSQL", fault, remedy) from error
    except psycopg.Error as error:
        raise Unavailable("PostgreSQL", f"no role or database ({error})", "try again") from error


def ensure_role(connection: psycopg.Connection, password: str) -> None:
    """Create the role that owns the data: no superuser, but it makes databases and readers."""
    role = sql.Identifier(ROLE)
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone() is None:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE").format(role))
        connection.execute(
            sql.SQL("GRANT pg_monitor, pg_checkpoint, pg_signal_backend TO {}").format(role)
        )
    connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(password)))
