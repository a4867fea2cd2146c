"""Who reads a shard for a group: one at a time, numbered, so that a sleeper can do no harm.

Only one reader works on a shard, since bars are made of frames in their order. Its turn lasts as
long as it renews it; the next one gets a higher token, and every effect is written in a transaction
that Redis refuses once the turn is another's. One that was too busy to renew it goes on where
nobody has taken it meanwhile: nothing was done since.
"""

from __future__ import annotations

from typing import Any

from redis import Redis

from lake.errors import Fenced
from serving.streams import keys

TURN_MS = 3_000
"""A turn that is not renewed for so long may be taken; it is renewed every third of that."""

TAKE = """
if redis.call('exists', KEYS[1]) == 1 then return 0 end
local token = redis.call('incr', KEYS[2])
redis.call('set', KEYS[1], token, 'px', ARGV[1])
return token
"""
RENEW = """
local now = redis.call('get', KEYS[1]) or redis.call('get', KEYS[2])
if now ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
return 1
"""
LEAVE = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('del', KEYS[1])
"""


class Owner:
    """A turn at one shard, once taken."""

    def __init__(self, client: Redis, group: str, shard: int, token: int) -> None:
        self._client = client
        self.key = keys.owner(group, shard)
        self._tokens = keys.tokens(group, shard)
        self.token = token

    def renew(self) -> None:
        """Keep the turn; Fenced where it is another's by now, or was."""
        names = self.key, self._tokens
        if not self._client.eval(RENEW, 2, *names, str(self.token), str(TURN_MS)):
            raise fenced(self.key)

    def leave(self) -> None:
        """End the turn, if it is still ours."""
        self._client.eval(LEAVE, 1, self.key, str(self.token))


def take(client: Redis, group: str, shard: int) -> Owner | None:
    """Take the turn at a shard; None while another has it."""
    names = keys.owner(group, shard), keys.tokens(group, shard)
    token: Any = client.eval(TAKE, 2, *names, str(TURN_MS))
    return Owner(client, group, shard, int(token)) if token else None


def fenced(key: str) -> Fenced:
    """Return what is raised by an owner whose turn is over."""
    return Fenced(key, "another reads this shard now", "it goes on; this one is to start anew")
