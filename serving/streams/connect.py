"""Connections to the speed layer's Redis: short waits, no hidden retries."""

from __future__ import annotations

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

ANSWER_S_MAX = 0.5
"""An answer that takes longer is a fault; blocking reads wait this much beyond their own time."""


def connected(url: str, *, wait_s: float = ANSWER_S_MAX) -> Redis:
    """Return a client of redis:// or rediss://; it connects with its first command.

    Its commands raise redis.RedisError (ConnectionError and TimeoutError among them) after wait_s
    at most, and are never sent twice by themselves.
    """
    return Redis.from_url(
        url,
        socket_timeout=wait_s,
        socket_connect_timeout=wait_s,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        protocol=2,  # the one in which every version of the client answers alike
    )
