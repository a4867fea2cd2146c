"""Versions that given servers must have: what is asked of them is not in older ones.

PostgreSQL's and TimescaleDB's are looked at where the hot tier is prepared (lake.hot.edition); an
S3 store says none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import redis

from lake.errors import BadInput, Unavailable

LEAST: Mapping[str, tuple[int, ...]] = {"Redis": (7, 0), "Trino": (470,)}
"""Streams that are trimmed by id, and claims; `optimize_manifests`. Valkey says what it equals."""


def require(server: str, said: str) -> None:
    """Raise BadInput where a server says a version that is too old."""
    found = re.match(r"\d+(\.\d+)*", said)
    numbers = tuple(int(each) for each in found[0].split(".")) if found else ()
    if numbers < LEAST[server]:
        least = ".".join(map(str, LEAST[server]))
        raise BadInput(f"{server} {said}", f"older than {least}", "use a newer server")


def redis_version(url: str) -> str:
    """Return what a Redis says of itself; raises Unavailable."""
    try:
        with redis.Redis.from_url(url) as client:
            return str(client.info("server")["redis_version"])
    except redis.RedisError as error:
        raise Unavailable("redis", str(error), "start it, and check its address") from error
