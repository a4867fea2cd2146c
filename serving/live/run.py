"""The speed layer's process of a home: a worker for each shard, taken up again whenever it ends.

    python -m serving.live.run HOME [beside]

beside: it ends where its standard input does, so with whoever started it. A shard whose turn
another process has is tried again; so is one whose Redis or database is away.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from feature_repo.feature_set import MARKET, FeatureSet
from lake.client import connect
from lake.clock import Clock, SystemClock
from lake.errors import TicklakeError, Unavailable
from lake.feeds.codec import Frames
from lake.state import valkey_url
from serving.live.journal_runs import RECALLED_MAX, journal_runs
from serving.live.once import Once
from serving.live.online import Online
from serving.live.process import AGAIN_S, BESIDE, each_shard, steady, stops_when_told
from serving.live.report import WORKER, end_report, write_report
from serving.live.seed import Seed, seed_of
from serving.live.told import Teller
from serving.live.worker import Worker
from serving.streams import keys, listeners, reader
from serving.streams.connect import connected

LOG = logging.getLogger("ticklake.live")
GROUP = "live"
LAKE_S_MAX = 150.0
"""How long after its start a process without the journal waits for the lake's bars to have what
passed by before; then it goes without, and marks its bars degraded."""


class Workers:
    """All shards of a home (absolute path), a thread each; ends when `stop` is set."""

    def __init__(self, home: Path, clock: Clock, features: FeatureSet = MARKET) -> None:
        self._home = home
        self._clock = clock
        self._features = features
        self._working: dict[int, Worker] = {}
        self._wait_until_us = clock.monotonic_us() + int(LAKE_S_MAX * 1e6)
        self.stop = threading.Event()

    def run(self) -> None:
        """Start a thread for each shard there is, until stopped."""
        if self._say():
            self.stop.wait(2 * listeners.LOOK_S)  # ingests begin to send
        threading.Thread(target=self._keep_saying, daemon=True).start()
        each_shard(self._home, self._keep, self.stop, end_s_max=AGAIN_S, log=LOG)

    def _say(self) -> bool:
        """Have ingests send what they take in; tell whether nobody had before."""
        try:
            with connected(valkey_url(self._home)) as client:
                return listeners.say(client)
        except (RedisError, TicklakeError):
            return False  # its shards say what is wrong

    def _keep_saying(self) -> None:
        while not self.stop.wait(listeners.SAY_S):
            self._say()
            with suppress(OSError):
                write_report(self._home, WORKER, {"shards": self._figures()}, self._clock)
        end_report(self._home, WORKER)

    def _figures(self) -> dict[int, dict[str, Any]]:
        return {shard: worker.figures() for shard, worker in list(self._working.items())}

    def _keep(self, shard: int) -> None:
        """Work on a shard for as long as nobody stops it, whatever happens meanwhile."""
        while not self.stop.is_set():
            client = connected(valkey_url(self._home))
            try:
                self._work(client, shard)
            except (TicklakeError, RedisError, psycopg.Error, OSError) as error:
                LOG.warning("shard %d: %s", shard, " ".join(str(error).split()))
            except Exception:  # whatever it is, the next try begins anew
                LOG.exception("shard %d", shard)
            finally:
                client.close()
            self.stop.wait(AGAIN_S)

    def _work(self, client: Redis, shard: int) -> None:
        seed = self._seed(client, shard)
        unheard = last_lacking(client, shard, seed.through) if seed.through else 0
        if unheard > seed.through and not self._folder(shard).is_dir() and self._may_wait():
            fault = f"ends before frame {unheard}, the last that the stream lacks"
            raise Unavailable(f"lake, shard {shard}", fault, "wait for its next bars")
        opened = reader.opened(client, GROUP, shard, self._clock)
        if opened is None:
            return
        teller = Teller(shard)
        teller.begin(client)
        opened.done((), teller.afterwards)
        if not opened.closed()[0]:
            opened.done((), teller.anew)
        with (
            Online(valkey_url(self._home), self._features) as online,
            Worker(
                opened,
                Once(),
                self._features,
                self._clock,
                seed=seed,
                effects=teller,
                beforehand=teller.beforehand,
                afterwards=teller.afterwards,
            ) as worker,
        ):
            worker.recall(self._journal(shard, seed.through - RECALLED_MAX, seed.through))
            through = max(opened.applied.frame, unheard)
            worker.catch_up(self._journal(shard, seed.through, through), unheard)
            self._working[shard] = worker
            steady()
            LOG.info("shard %d: from frame %d on", shard, opened.applied.frame)
            while not self.stop.is_set():
                found = worker.round()
                if found is not None and found.features is not None:
                    online.push(found.features, self._clock.now_us())

    def _seed(self, client: Redis, shard: int) -> Seed:
        """Return what the worker begins with; before it takes its turn, which must not wait."""
        found = client.get(keys.closed(GROUP, shard))
        given = found if isinstance(found, bytes) else b"0 0"
        closed_us = int(given.partition(b" ")[0])
        with connect(self._home, role="service") as lake:
            return seed_of(lake, shard, closed_us, self._features, self._clock.now_us())

    def _may_wait(self) -> bool:
        return self._clock.monotonic_us() < self._wait_until_us

    def _folder(self, shard: int) -> Path:
        return self._home / "journal" / f"shard-{shard}"

    def _journal(self, shard: int, after: int, through: int) -> Iterator[tuple[str, Frames]]:
        """Yield runs of the home's journal; none where it is on another machine, or gone."""
        directory = self._folder(shard)
        if not directory.is_dir():
            return
        with suppress(Unavailable):
            yield from journal_runs(directory, shard, max(0, after), through)


def last_lacking(client: Redis, shard: int, known: int) -> int:
    """Return the last frame that the stream lacks, 0 where it lacks none beyond known, a frame.

    It passed by unheard, or was trimmed while no worker ran.
    """
    return max(last_unheard(client, shard), reader.trimmed_through(client, shard, known))


def last_unheard(client: Redis, shard: int) -> int:
    """Return the last frame that was not sent since nobody listened, 0 where none is of interest.

    It is not where a worker has gone beyond it.
    """
    found: Any = client.mget(keys.whole_from(shard), keys.applied(GROUP, shard))
    whole, applied = found
    if not whole or (applied and keys.place_of(applied).frame >= int(whole)):
        return 0
    return int(whole) - 1


def main() -> None:
    """Run until a signal comes."""
    workers = Workers(Path(sys.argv[1]).resolve(), SystemClock())
    stops_when_told(workers.stop, is_beside=sys.argv[2:] == [BESIDE])
    workers.run()


if __name__ == "__main__":
    main()
