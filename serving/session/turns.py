"""A session from its opening to its end: whoever runs it calls this again and again."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress

from redis.exceptions import RedisError

from lake.errors import Unavailable
from serving.session.commands_to_ledger import Differs
from serving.session.live_shard import LiveShard
from serving.session.opening import opened
from serving.session.parts import Follow, Parts
from serving.session.plan import Plan
from serving.streams import owner
from serving.streams.reader import ShardReader

LOG = logging.getLogger("ticklake.session")


def run_session(
    parts: Parts, follow: Follow | None, stops: Callable[[], bool], forsake: str = ""
) -> Follow | None:
    """Run one session until its day is over or stops() says so; then it is ended.

    forsake: why the one that is not closed is given up; see opened.
    Returns where the next one begins, None: with what comes then. Raises what its parts raise; the
    session is then gone on with by the next call.
    """
    with opened(parts, follow, forsake) as found:
        if found.is_over:
            live = LiveShard(parts, found, None)
            _ended(live, "day" if found.day_over else "begun anew")
            return live.follow if found.day_over else None
        turn = owner.take(parts.client, group_of(parts.plan), parts.shard)
        if turn is None:
            raise Unavailable(f"stream of shard {parts.shard}", "is read by another", "wait")
        live = LiveShard(parts, found, reader_of(parts, turn))
        LOG.info("shard %d: session %s is live", parts.shard, found.session.start.session)
        try:
            while not stops():
                if not live.turn():
                    return live.follow
        except Differs as error:
            live.abandon(str(error))
            raise
        finally:
            with suppress(RedisError):
                turn.leave()
        _ended(live, "stopped")
        return None


def reader_of(parts: Parts, turn: owner.Owner) -> ShardReader:
    """Return the reader of a session's stream."""
    return ShardReader(parts.client, group_of(parts.plan), parts.shard, turn, parts.clock)


def group_of(plan: Plan) -> str:
    """Return the name of the group in which a plan's sessions read a stream."""
    names = "+".join(sorted(plan.strategies))
    return f"session-{hashlib.sha256(names.encode()).hexdigest()[:12]}"


def _ended(live: LiveShard, why: str) -> None:
    try:
        live.end(why)
    except Differs as error:
        live.abandon(str(error))
        raise
