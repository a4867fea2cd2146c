"""The given profile: servers that others run, as compose and Kubernetes do.

`up` waits until the stores answer and prepares database and buckets; `down` stops nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from infra.servers import store_users
from infra.servers.buckets import Buckets, see_to_buckets
from infra.servers.home import locked, prepared
from infra.servers.logins import give_logins
from infra.servers.postgres_server import PostgresServer
from infra.servers.process import wait_until
from infra.servers.profile import FOLDERS
from infra.servers.report import Report
from infra.servers.versions import redis_version, require
from infra.watch.probes import Health, probe_all
from lake.clock import Clock, SystemClock
from lake.errors import Unavailable, WrongUse
from lake.hot.arrange import CHUNK_HOURS, prepare
from lake.hot.recovery import OTHERS, keep_for, shipped
from lake.roles import database_role
from lake.state import read_state, write_state

STORES = ("postgres", "valkey", "s3")
ANSWER_S_MAX = 120.0


@dataclass(frozen=True)
class Given:
    """The profile; addresses are asked for by `up` alone, the others read the home's state.

    prepares: whether `up` prepares the servers; a home of one role finds them prepared.
    """

    addresses: Callable[[], dict[str, Any]]
    prepares: bool = True

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
        """Prepare database and buckets once the stores answer; safe to call again, and at once.

        Raises BadInput when an address is missing or a server too old, Unavailable when a store
        does not answer;
        backup: where the database is backed up by who runs it, or by infra.cluster.backups beside
        it, and how far back a restore must reach; None leaves that as it is. WrongUse for a folder,
        which the server could not fill.
        """
        if backup and backup["place"] != OTHERS and not shipped(backup["place"]):
            fault = "can't be on servers that others run"
            remedy = f"have them backed up and say {OTHERS!r}, or name a bucket"
            raise WrongUse("TICKLAKE_BACKUP", fault, remedy)
        if any(door):
            fault = "are not for servers that others run"
            raise WrongUse(
                "TICKLAKE_LISTEN, TICKLAKE_TLS", fault, "leave them out; TLS_CA is yours"
            )
        clock = clock or SystemClock()
        given = self.addresses()
        home = prepared(home)
        (home / FOLDERS["given"]).mkdir(exist_ok=True)
        with locked(home, clock, ANSWER_S_MAX):
            state = {**read_state(home), **given}
            if not self.prepares:
                state.pop("roles", None)  # of an earlier `up` that knew them
            write_state(home, state)
            await_stores(state, clock)
            require("Redis", redis_version(state["valkey"]["url"]))
            if not self.prepares:
                return Report(state, ())
            buckets = Buckets(state["s3"]["bucket"], state["s3"]["models_bucket"])
            see_to_buckets(state["s3"], buckets)
            with psycopg.connect(state["postgres"]["dsn"]) as connection:
                prepare(connection, chunk_hours=chunk_hours, pinned=pinned)
                if backup is not None:
                    keep_for(connection, backup.get("hours"), backup.get("place", ""))
            see_to_roles(state)
            write_state(home, state)
        return Report(state, ())

    def postgres_of(
        self, home: Path, clock: Clock, more: Mapping[str, str] | None = None
    ) -> PostgresServer:
        """Refuse: its files are not here."""
        raise WrongUse("backup", "is not for servers that others run", "ask who runs the database")

    def down(self, home: Path, clock: Clock | None = None) -> tuple[str, ...]:
        """Stop nothing: whoever runs the servers stops them."""
        return ()

    def status(self, home: Path, clock: Clock | None = None) -> dict[str, dict[str, Any]]:
        """Return per server whether it answers, and where; the rest is known to who runs it."""
        state = read_state(home)
        found = probe_all(state, clock or SystemClock())
        return {name: described(health, state[name]) for name, health in found.items()}


def await_stores(state: dict[str, Any], clock: Clock) -> None:
    """Wait until the stores answer; Unavailable names the one that did not."""
    stores = {name: state[name] for name in STORES}
    stores["s3"] = {name: said for name, said in stores["s3"].items() if name != "bucket"}
    found: dict[str, Health] = {}

    def answered() -> bool:
        found.update(probe_all(stores, clock))
        return all(each.up for each in found.values())

    if not wait_until(clock, answered, ANSWER_S_MAX):
        name, health = next((name, each) for name, each in found.items() if not each.up)
        raise Unavailable(name, health.fault, "start it, and check its address and password")


def see_to_roles(state: dict[str, Any]) -> None:
    """Give every role that has a password its login, and its keys where the store is MinIO; MLflow
    its keys likewise.

    Another store's keys are for who runs it, by the policies of infra/servers/policies with its
    bucket's name in the place of ${S3_BUCKET}; a role that is told of none uses the owner's.
    """
    roles, s3 = state.get("roles", {}), state["s3"]
    if not roles:
        return
    owner = state["postgres"]["dsn"]
    words = {name: password_of(each["dsn"]) for name, each in roles.items()}
    give_logins(owner, owner, {database_role(name): word for name, word in words.items()})
    without = {store_users.key_name(name): words[name] for name in roles if "s3" not in roles[name]}
    if "models" in state:
        without[store_users.key_name(store_users.MLFLOW)] = state["models"]["secret_key"]
    if without and store_users.is_minio(s3["endpoint"], s3.get("ca")):
        for name, keys in store_users.give_keys(s3, without).items():
            if name in roles:
                roles[name]["s3"] = keys


def password_of(dsn: str) -> str:
    """Return the password in a libpq URI."""
    return str(psycopg.conninfo.conninfo_to_dict(dsn)["password"])


def described(health: Health, said: dict[str, Any]) -> dict[str, Any]:
    """Return the status of one server."""
    parts = urlsplit(str(said.get("dsn") or said.get("endpoint") or said.get("url")))
    return {
        "running": health.up,
        "health": "answers" if health.up else "does not answer",
        "pid": None,
        "address": f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname),
        "since": None,
        "memory_bytes": 0,
        "version": "-",
        "log": "with whoever runs it",
    }
