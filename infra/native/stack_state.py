"""What the stack leaves in the state of its home: addresses, and how clients come in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from feature_repo.ledger.places import OF_STORE
from infra.native import page_door, plans, trino_door
from infra.servers.door import LOCAL, Door
from infra.servers.postgres_server import Postmaster, dsn
from infra.servers.valkey_server import Valkey, url
from infra.servers.web_server import Web


def trino_user(name: str, passwords: Mapping[str, str], door: Door) -> dict[str, str]:
    """Return how a user comes into Trino, which believes any name where there is no TLS."""
    if not door.tls:
        return {"user": name}
    return {"user": name, "password": passwords[trino_door.password_name(name)]}


def stores_state(
    postgres: Postmaster, redis: Valkey, minio: Web, wiring: plans.Wiring
) -> dict[str, dict[str, Any]]:
    """Return what the state says of where data rests."""
    passwords = wiring.passwords
    return {
        "postgres": {
            "dsn": dsn(postgres, passwords["postgres"], wiring.door),
            "socket_dir": str(postgres.socket_dir),
            "port": postgres.port,
            "pid": postgres.pid,
        },
        "valkey": {
            "url": url(redis, passwords["valkey"], wiring.door),
            "port": redis.port,
            "pid": redis.pid,
        },
        "s3": {
            "endpoint": wiring.s3,
            "region": plans.REGION,
            "bucket": wiring.buckets.lake,
            "models_bucket": wiring.buckets.models,
            OF_STORE: f"s3://{wiring.buckets.lake}-ledger/orders",
            "access_key": plans.S3_USER,
            "secret_key": passwords["s3"],
            **trusted(wiring.door),
            "port": minio.port,
            "pid": minio.pid,
        },
        "warehouse": {"location": f"s3://{wiring.buckets.lake}/warehouse"},
    }


def trusted(door: Door) -> dict[str, str]:
    """Return what a client of a web server must trust."""
    return {"ca": str(door.ca)} if door.ca else {}


def web_state(server: Web, door: Door, path: str = "") -> dict[str, Any]:
    """Return what the state says of a server that answers over HTTP."""
    url = f"{door.http}://{door.name}:{server.port}{path}"
    return {"url": url, "port": server.port, "pid": server.pid, **trusted(door)}


def prefect_state(prefect: Web, wiring: plans.Wiring) -> dict[str, Any]:
    """Return what the state says of Prefect's server."""
    login = {"login": page_door.prefect_login(wiring.passwords)} if wiring.door.tls else {}
    return web_state(prefect, wiring.door, "/api") | login


def users_state(
    trino: Web, prefect: Web, worker: Web, mlflow: Web, wiring: plans.Wiring
) -> dict[str, dict[str, Any]]:
    """Return what the state says of the servers that work on data."""
    door, passwords = wiring.door, wiring.passwords
    return {
        "trino": web_state(trino, door) | trino_user(trino_door.OWNER, passwords, door),
        plans.PREFECT: prefect_state(prefect, wiring),
        plans.WORKER: web_state(worker, LOCAL),
        plans.MLFLOW: web_state(mlflow, door)
        | (page_door.mlflow_login(passwords) if door.tls else {}),
    }
