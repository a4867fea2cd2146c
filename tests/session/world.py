"""A shard's world on real servers: an ingest that journals and publishes, a session that may die.

The ingest numbers frames and shows them to the stream before they are on the disk; a crash of it
loses those that were not. A session dies where its clock is read for the n-th time, so at any step.
"""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psycopg
import pytest
from redis import Redis

from feature_repo.ledger.second_place import LockedFolder
from feature_repo.ledger.verify import verify
from feature_repo.ledger.writer import SILENT_MS_MAX
from lake.audit.signing import signer_at
from lake.clock import ManualClock, SystemClock
from lake.errors import Fenced, Unavailable
from lake.journal.journal import Journal
from serving.risk.kill_switch import KillSwitch
from serving.session.live_shard import LiveShard
from serving.session.models import Models, NoModels
from serving.session.opening import opened
from serving.session.orders import Orders, first_difference, orders_of_ledger
from serving.session.parts import Follow, Parts
from serving.session.plan import Plan
from serving.session.replay import orders_of_journal
from serving.session.session_log import Logged, SessionLog
from serving.session.turns import group_of
from serving.streams import entry, keys, owner
from serving.streams.keys import Place
from serving.streams.reader import ShardReader
from tests.session.market import CODE, FEED, NOON_US, PLAN, Market

SHARDS = itertools.count(2_000)


class Died(Exception):
    """The session's process was killed."""


class Deadly(ManualClock):
    """A clock that kills whoever reads it for the n-th time from now on."""

    dies_in = 0

    def now_us(self) -> int:
        self._count()
        return super().now_us()

    def monotonic_us(self) -> int:
        self._count()
        return super().monotonic_us()

    def _count(self) -> None:
        if self.dies_in:
            self.dies_in -= 1
            if not self.dies_in:
                raise Died


class Ingest:
    """What journals a market's frames, and publishes them."""

    def __init__(self, folder: Path, shard: int, client: Redis) -> None:
        self.folder, self.shard, self.client = folder, shard, client
        self.epoch = 0
        self.begin()

    def begin(self) -> None:
        self.epoch += 1
        self.journal = Journal(
            self.folder, self.shard, segment_bytes_max=100_000, bytes_max=1 << 30
        )
        self.number = 0
        self.client.hset(keys.starts(self.shard), str(self.epoch), self.journal.next_frame)

    def crash(self) -> None:
        self.journal.close()
        self.begin()

    def send(self, raw: list[bytes], received_us: list[int], *, published: bool = True) -> None:
        first = self.journal.next_frame
        self.journal.append(FEED, 0, raw, received_us)
        if not published:
            return
        numbers = list(range(first, first + len(raw)))
        body = entry.dump(self.number, FEED, 0, False, numbers, received_us, raw)
        self.number += 1
        place = Place(self.epoch, first)
        self.client.xadd(keys.frames(self.shard), {"b": body}, id=place.id)

    def sync(self) -> None:
        durable = self.journal.flush()
        place = Place(self.epoch, durable)
        said = self.client.xrevrange(keys.durable(self.shard), count=1)
        if said and keys.place_of(said[0][0]) >= place:  # type: ignore[index]
            return
        (start,) = self.client.hmget(keys.starts(self.shard), [str(self.epoch)])  # type: ignore[misc]
        self.client.xadd(keys.durable(self.shard), {"start": start or 1}, id=place.id)


@dataclass
class World:
    """market: what is still to come is from `at` on."""

    folder: Path
    dsn: str
    client: Redis
    market: Market
    plan: Plan = PLAN
    models: Models | None = None
    silent_ms: int = SILENT_MS_MAX
    shard: int = field(default_factory=lambda: next(SHARDS))

    def __post_init__(self) -> None:
        self.clock = Deadly(NOON_US)
        self.still = ManualClock(NOON_US)
        self.at = 0
        self.dies_in = 0
        self.live: LiveShard | None = None
        self.stack = ExitStack()
        self.follow: Follow | None = None
        self.met: Counter[str] = Counter()
        journal = self.folder / "journal" / f"shard-{self.shard}"
        self.ingest = Ingest(journal, self.shard, self.client)
        self.kill = KillSwitch(self.folder / "run" / "killed.json", None, self.clock)

    def parts(self) -> Parts:
        names = self.folder, self.shard, self.plan, self.dsn, self.client, self.kill, self.clock
        return Parts(*names, self.models or NoModels(), CODE, silent_ms=self.silent_ms)

    def send(self, count: int, *, published: bool = True) -> None:
        """Receive so many frames, one after the other."""
        upto = min(len(self.market.raw), self.at + count)
        raw, received = self.market.raw[self.at : upto], self.market.received_us[self.at : upto]
        if raw:
            self.ingest.send(raw, received, published=published)
            self.clock.step(max(0, received[-1] - ManualClock.now_us(self.clock)))
            self.clock._monotonic_us += 1_000 * count
        self.at = upto

    def open(self) -> bool:
        """Open the session, if nobody has; tell whether it goes on."""
        if self.live is not None:
            return True
        self.client.delete(keys.owner(group_of(self.plan), self.shard))  # whoever had it is dead
        parts = self.parts()
        found = self.stack.enter_context(opened(parts, self.follow))
        self.follow = None
        if found.is_over:
            ending = LiveShard(parts, found, None)
            ending.end("over")
            self.follow = ending.follow if found.day_over else None
            self.drop()
            return False
        turn = owner.take(self.client, group_of(self.plan), self.shard)
        assert turn is not None
        group = group_of(self.plan)
        reader = ShardReader(self.client, group, self.shard, turn, SystemClock())
        self.live = LiveShard(parts, found, reader)
        return True

    def turn(self) -> None:
        """Let the session work once, and die where it must."""
        self.clock.dies_in, self.dies_in = self.dies_in, 0
        try:
            if self.open():
                assert self.live is not None
                if not self.live.turn(0):
                    self.follow = self.live.follow
                    self.drop()
        except Died:
            self.met["died"] += 1
            self.drop()
        except (Unavailable, Fenced) as error:
            self.met[error.fault.partition(":")[0]] += 1
            self.drop()
        finally:
            self.dies_in, self.clock.dies_in = self.clock.dies_in, 0

    def drop(self) -> None:
        """Let go of the session as a killed process does."""
        self.clock.dies_in = self.dies_in = 0
        self.live = None
        self.stack.close()
        self.stack = ExitStack()

    def cut_connections(self) -> None:
        """End every connection to the database, as its restart does."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND backend_type = 'client backend'"
            )

    def rival(self) -> None:
        """Start another instance beside a session that lives: it gets no turn."""
        if self.live is None:
            return
        ledger = self.live._opened.ledger
        ledger.beat()  # it hears whether its connection was ended
        if not ledger.leads:
            return
        with pytest.raises(Fenced), opened(replace(self.parts(), clock=self.still)):
            pass
        self.met["rival"] += 1

    def finish(self) -> None:
        """Bring all to an end, without faults."""
        self.dies_in = 0
        if self.kill.state().killed:
            self.kill.release("test", "the end")
        self.send(len(self.market.raw))
        self.ingest.sync()
        for _ in range(200):
            self.turn()
            last = self.ingest.journal.next_frame - 1
            if self.live is None or self.live._through < last:
                continue
            self.ingest.sync()
            try:
                self.live.end("stopped")
                return
            except (Unavailable, Fenced):
                pass
            finally:
                self.drop()
        raise AssertionError(f"it does not come to its end: {self.met}")

    def close(self) -> None:
        self.drop()
        self.ingest.journal.close()

    def sessions(self) -> list[Logged]:
        """Return what the log has, all of them closed."""
        with SessionLog(self.dsn) as log:
            names = log.of_day(NOON_US) + log.of_day(NOON_US + 86_400_000_000)
            found = [log.read(name) for name in names]
        return [each for each in found if each.start.shard == self.shard]

    def check(self) -> int:
        """Hold the ledger against a replay of every session; return how many orders there are."""
        count = 0
        for logged in self.sessions():
            assert logged.words[-1].kind == "closed"
            replayed = orders_of_journal(self.folder, logged, self.models)
            with psycopg.connect(self.dsn) as connection:
                written = orders_of_ledger(connection, logged.start.session)
            difference = first_difference(replayed, written)
            assert difference is None, (logged.start.session, difference)
            assert replayed.digest() == written.digest()
            count += len(written)
        place = LockedFolder(self.folder / "second")
        signer = signer_at(self.folder / "keys" / "ledger.pem")
        assert verify(self.dsn, place, signer.public).faults == []
        return count


def orders_by_state(dsn: str, account: str) -> dict[str, int]:
    """Return how many orders of an account stand in which state, by their last events."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT event_type, count(*) FROM (SELECT DISTINCT ON (order_id) event_type FROM"
            " market.order_events WHERE account = %s ORDER BY order_id, sequence_number DESC) AS l"
            " GROUP BY 1",
            (account,),
        ).fetchall()
    return dict(rows)


def frames_left(words: list[tuple[int, int]]) -> int:
    """Return how many frames these stretches hold."""
    return int(np.sum([b - a + 1 for a, b in words])) if words else 0


__all__ = ["Orders", "World", "frames_left", "orders_by_state"]
