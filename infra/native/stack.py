"""The stack profile as one thing: up, down, status of the servers that a firm runs.

As in the embedded profile, starting is recovery. What needs another server starts after it; the
rest starts at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from infra.native import (
    minio_part,
    model_users,
    page_door,
    plans,
    python_part,
    timescale,
    trino_door,
    trino_part,
)
from infra.native.debian_part import REDIS
from infra.native.part import Place
from infra.native.software import INSTALL, Software
from infra.native.stack_state import (
    prefect_state,
    stores_state,
    trino_user,
    trusted,
    users_state,
)
from infra.servers import at_rest, store_users, valkey_server
from infra.servers.buckets import Buckets, buckets_of, see_to_buckets
from infra.servers.certificates import set_door
from infra.servers.door import LOCAL, MADE, check, door_of
from infra.servers.home import locked, port_of, prepared, read_passwords
from infra.servers.logins import give_logins, login_names
from infra.servers.ports import LOOPBACK
from infra.servers.postgres_server import PostgresServer, Postmaster, admin_dsn
from infra.servers.report import Report, Server, statuses
from infra.servers.valkey_server import ValkeyServer
from infra.servers.web_server import Web, WebServer
from lake.clock import Clock, SystemClock
from lake.errors import Unavailable
from lake.hot.arrange import CHUNK_HOURS, prepare
from lake.hot.recovery import keep_for
from lake.roles import ROLES
from lake.state import read_state, write_state

PASSWORDS = (
    *("postgres", "valkey", "s3", plans.PREFECT, plans.MLFLOW),
    *login_names(),
    *store_users.key_names(),
    *(trino_door.password_name(name) for name in trino_door.users()),
    "trino_secret",
    *(page_door.password_name(name) for name in (plans.PREFECT, plans.MLFLOW)),
    page_door.MLFLOW_SECRET,
)

LOCK_S_MAX = 600.0
"""Another `up` may be making everything for the first time."""

PORTS = {
    "postgres": 5432,
    "valkey": 6379,
    "s3": 9000,
    "trino": 8080,
    plans.PREFECT: 4200,
    plans.MLFLOW: 5000,
    plans.WORKER: 4201,
}
"""Taken at the first start where they are free, by key of the state."""


@dataclass(frozen=True)
class Servers:
    """The servers of one home, in the order that they are started in."""

    postgres: PostgresServer
    redis: ValkeyServer
    minio: WebServer
    trino: WebServer
    prefect: WebServer
    worker: WebServer
    mlflow: WebServer

    def by_name(self) -> dict[str, Server]:
        """Return each by its name."""
        return dict(vars(self))


@dataclass(frozen=True)
class Stack:
    """The profile, on this software; names of its buckets, "" for a home's own or the usual.

    encrypts: its store encrypts what it writes from now on; once a home has a key, it goes on.
    """

    software: Software
    bucket: str = ""
    models_bucket: str = ""
    encrypts: bool = False

    def servers(self, home: Path, clock: Clock) -> Servers:
        """Return the servers of a home (absolute path)."""
        redis = valkey_server.Programs("redis", REDIS, self.software.usr)
        door = door_of(home)
        web = {
            name: WebServer(home, clock, kind, LOCAL if name == plans.WORKER else door)
            for name, kind in plans.kinds(self.software).items()
        }
        return Servers(
            self.postgres_of(home, clock, read_state(home).get("backup", {}).get("settings")),
            ValkeyServer(home, clock, redis, door),
            **web,
        )

    def up(
        self,
        home: Path,
        clock: Clock | None = None,
        *,
        chunk_hours: int = CHUNK_HOURS,
        pinned: Sequence[str] = (),
        backup: Mapping[str, Any] | None = None,
        door: tuple[str, str] = ("", ""),
    ) -> Report:
        """Start what is down, prepare databases, buckets and folders; safe to call again.

        chunk_hours, pinned: as for lake.hot.arrange; backup: as for the embedded profile; door: as
        for infra.servers.certificates.set_door. Raises Unavailable when a server does not get
        ready, or its software is not installed; BadInput for a door that can't be.
        """
        check(door[0] or LOOPBACK, door[1] or MADE)  # before anything else, what can't be at all
        self.check_software()
        clock = clock or SystemClock()
        home = prepared(home)
        with locked(home, clock, LOCK_S_MAX):
            if self.encrypts:
                at_rest.see_to_key(home)
            before = pids(self.servers(home, clock))
            self._set_backup(home, clock, backup)
            set_door(home, *door, clock)
            servers = self.servers(home, clock)
            buckets = buckets_of(read_state(home).get("s3", {}), self.bucket, self.models_bucket)
            state = Start(self.software, home, servers, buckets, chunk_hours, pinned).run()
            after = pids(servers)
        return Report(state, tuple(name for name in after if after[name] != before[name]))

    def check_software(self) -> None:
        """Raise Unavailable when a part is not installed, or not as this version wants it."""
        place = Place(self.software)
        for name in ("debian", "java"):
            self.software.installed(name)
        for part in (python_part.PART, minio_part.PART, trino_part.PART):
            if self.software.installed(part.name).wanted != part.wanted(place):
                fault = "another version is installed than is wanted"
                raise Unavailable(f"{part.name} in {self.software.folder}", fault, INSTALL)

    def down(self, home: Path, clock: Clock | None = None) -> tuple[str, ...]:
        """Stop the servers of a home, those that need others first; return those that ran."""
        clock = clock or SystemClock()
        home = home.resolve()
        if not home.is_dir():
            return ()
        with locked(home, clock, LOCK_S_MAX):
            servers = self.servers(home, clock)
            users = ("trino", "worker", "mlflow")
            by_name = servers.by_name()
            stopped = at_once({name: by_name[name].down for name in users})
            stopped["prefect"] = by_name["prefect"].down()  # the worker says goodbye to it
            rest = {name: by_name[name].down for name in by_name if name not in stopped}
            stopped |= at_once(rest)
        return tuple(name for name in by_name if stopped[name])

    def postgres_of(
        self, home: Path, clock: Clock, more: Mapping[str, str] | None = None
    ) -> PostgresServer:
        """Return a home's PostgreSQL (absolute path), with settings that go before its own."""
        programs = timescale.programs(self.software).also(more or {})
        return PostgresServer(home, clock, programs, door_of(home))

    def _set_backup(self, home: Path, clock: Clock, backup: Mapping[str, Any] | None) -> None:
        """Note how the server archives; where that changes, it does from its next start on."""
        state = read_state(home)
        known = state.get("backup", {})
        if backup is not None and dict(backup) != known:
            if backup.get("settings") != known.get("settings"):
                self.postgres_of(home, clock).down()
            write_state(home, {**state, "backup": dict(backup)})

    def status(self, home: Path, clock: Clock | None = None) -> dict[str, dict[str, Any]]:
        """Return per server: running, health, pid, address, since, memory, version, log."""
        return statuses(home, self.servers(home.resolve(), clock or SystemClock()).by_name())


@dataclass(frozen=True)
class Start:
    """One start of all servers of a home."""

    software: Software
    home: Path
    servers: Servers
    buckets: Buckets
    chunk_hours: int
    pinned: Sequence[str]

    def run(self) -> dict[str, Any]:
        """Start them, stores first, and return the state, written."""
        before = read_state(self.home)
        passwords = read_passwords(self.home, PASSWORDS)
        ports = {name: port_of(before, name) or port for name, port in PORTS.items()}
        servers = self.servers
        stores = at_once(
            {
                "postgres": lambda: self._databases(ports["postgres"], passwords),
                "redis": lambda: servers.redis.up(ports["valkey"], passwords["valkey"]),
                "minio": lambda: self._buckets(ports["s3"], passwords["s3"]),
            }
        )
        postgres, redis, minio = stores["postgres"], stores["redis"], stores["minio"]
        door = servers.postgres.door
        wiring = plans.Wiring(
            self.software, self.home, postgres.port, minio.port, passwords, self.buckets, door
        )
        if door.tls:
            trino_door.see_to_files(self.home, passwords)
            page_door.see_to_file(self.home, wiring.models_database)
            with timescale.superuser(postgres, plans.MLFLOW) as models:
                owner = passwords[page_door.password_name(plans.MLFLOW)]
                known = {page_door.USER: model_users.hash_of_random(owner)}
                model_users.see_to_users(models, known)
        state = {**before, **stores_state(postgres, redis, minio, wiring)}
        write_state(self.home, state)  # already true, should one of the next not start
        state["roles"] = self._roles(postgres, state, passwords)  # with which catalogs connect
        users = at_once(
            {
                "trino": lambda: servers.trino.up(ports["trino"], plans.trino(wiring)),
                "prefect": lambda: self._prefect(ports, wiring),
                "mlflow": lambda: servers.mlflow.up(ports["mlflow"], plans.mlflow(wiring)),
            }
        )
        prefect, worker = users["prefect"]
        state |= users_state(users["trino"], prefect, worker, users["mlflow"], wiring)
        write_state(self.home, state)
        return state

    def _prefect(self, ports: Mapping[str, int], wiring: plans.Wiring) -> tuple[Web, Web]:
        """Start Prefect's server, then the worker of its pool."""
        server = self.servers.prefect.up(ports[plans.PREFECT], plans.prefect(wiring))
        worker = plans.worker(wiring, prefect_state(server, wiring))
        return server, self.servers.worker.up(ports[plans.WORKER], worker)

    def _databases(self, port: int, passwords: Mapping[str, str]) -> Postmaster:
        postmaster = self.servers.postgres.up(port, passwords["postgres"])
        owners = {name: passwords[name] for name in (plans.PREFECT, plans.MLFLOW)}
        timescale.see_to_databases(postmaster, owners)
        return postmaster

    def _buckets(self, port: int, password: str) -> Web:
        door = self.servers.minio.door
        plan = plans.minio(self.software, self.home, password, door)
        minio = self.servers.minio.up(port, plan)
        s3 = {
            "endpoint": f"{door.http}://{door.name}:{minio.port}",
            "region": plans.REGION,
            "access_key": plans.S3_USER,
            "secret_key": password,
            **trusted(door),
        }
        see_to_buckets(s3, self.buckets)
        return minio

    def _roles(
        self, postgres: Postmaster, state: Mapping[str, Any], passwords: Mapping[str, str]
    ) -> dict[str, dict[str, Any]]:
        """Make the tables, and of every role its login and its keys; return how each connects."""
        address, backup = state["postgres"]["dsn"], state.get("backup", {})
        with psycopg.connect(address) as connection:
            prepare(connection, chunk_hours=self.chunk_hours, pinned=self.pinned)
            keep_for(connection, backup.get("hours"), backup.get("place", ""))
        logins = give_logins(admin_dsn(postgres), address, passwords)
        keys = store_users.give_keys(state["s3"], passwords)
        found = {name: {**logins[name], "s3": keys[name]} for name in logins}
        for name in found:
            if ROLES[name].asks_trino:
                found[name]["trino"] = trino_user(name, passwords, self.servers.trino.door)
        return found


def pids(servers: Servers) -> dict[str, int | None]:
    """Return the servers' first processes."""
    found = {name: server.process() for name, server in servers.by_name().items()}
    return {name: process.pid if process else None for name, process in found.items()}


def at_once(calls: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Make calls at the same time; return their answers, or raise the first fault."""
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = {name: pool.submit(call) for name, call in calls.items()}
    return {name: future.result() for name, future in futures.items()}
