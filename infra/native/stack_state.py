"""What the stack leaves in the state of its home: addresses, and how clients come in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from feature_repo.ledger.places import OF_STORE
from infra.native import plans, trino_door
from infra.servers.door import Door
from infra.servers.ports import LOOPBACK
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


def users_state(
    trino: Web, prefect: Web, worker: Web, mlflow: Web, wiring: plans.Wiring
) -> dict[str, dict[str, Any]]:
    """Return what the state says of the servers that work on data."""
    paths = {"trino": "", "prefect": "/api", plans.WORKER: "", "mlflow": ""}
    servers = {"trino": trino, "prefect": prefect, plans.WORKER: worker, "mlflow": mlflow}
    found: dict[str, dict[str, Any]] = {
        name: {
            "url": f"http://{LOOPBACK}:{web.port}{paths[name]}",
            "port": web.port,
            "pid": web.pid,
        }
        for name, web in servers.items()
    }
    door = wiring.door
    found["trino"] |= {"url": f"{door.http}://{door.name}:{trino.port}", **trusted(door)}
    found["trino"] |= trino_user(trino_door.OWNER, wiring.passwords, door)
    return found
