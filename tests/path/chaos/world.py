"""Run a schedule against the real classes, one action at a time, in one thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from random import Random
from typing import Any

import psycopg
from pyiceberg.exceptions import CommitFailedException

from lake.clock import ManualClock
from lake.errors import DiskFull, Fenced, Unavailable
from lake.hot.lease import beat
from lake.ingest.hot_to_dropped import drop_due
from lake.ingest.mover_context import SERVER_FAULTS
from lake.views.client import Client
from tests.path.chaos.disk import Disk
from tests.path.chaos.events import Market
from tests.path.chaos.faults import ArmedSteps, Crash, raising
from tests.path.chaos.foreign import Foreign
from tests.path.chaos.oracle import DATASETS, assert_journal, assert_look
from tests.path.chaos.owners import Committer, Writer
from tests.path.chaos.place import Place
from tests.path.chaos.schedule import DAY_US, Action
from tests.path.chaos.socket import Socket

SETTLE_TRIES_MAX = 40
TICK_US = 37_000

Owner = Writer | Committer


class World:
    """One lakehouse under a schedule."""

    def __init__(self, place: Place, shards: int) -> None:
        self.place = place
        self.disk = Disk(place.folder)
        self.sockets = [Socket(place, shard, self.disk) for shard in range(shards)]
        self.markets = [Market(shard) for shard in range(shards)]
        self.foreign = Foreign(place)
        self.writers: list[Writer | None] = [None] * shards
        self.committer: Committer | None = None
        self.zombies: list[Owner] = []
        self.gone: set[tuple[str, date]] = set()
        self.tally: Counter[str] = Counter()
        self._state: list[tuple[Any, ...]] = []
        self._drop_steps = ArmedSteps(lambda name: self._note_dropped())

    def run(self, actions: Sequence[Action]) -> None:
        """Do the actions, recover from them, and ask the oracle."""
        for action in actions:
            if action["do"] != "start":
                self.act(action)
        self.settle()
        self.assert_end()

    def act(self, action: Action) -> None:
        """Do one action."""
        self.tally[action["do"]] += 1
        self.place.clock.advance(TICK_US)
        getattr(self, f"_{action['do']}")(action)

    def settle(self) -> None:
        """Start what is not running and move everything durable to the lake."""
        for socket in self.sockets:
            socket.steps.disarm()
            self._sent(socket, socket.flush)
        for _ in range(SETTLE_TRIES_MAX):
            done = [self._written(shard) for shard in range(len(self.sockets))]
            if self._guard(self._lake(), self._lake().step) is False and all(done):
                break
        else:
            raise AssertionError(f"not settled after {SETTLE_TRIES_MAX} rounds")
        for dataset in DATASETS:
            for what in ("merge", "expire"):
                self._guard(self._lake(), lambda w=what, d=dataset: self._lake().keep(w, d))
        self._age_removals()
        for dataset in DATASETS:
            self._guard(self._lake(), lambda d=dataset: self._lake().keep("remove", d))
        for owner in (*self.writers, self.committer, *self.zombies):
            self.tally.update(owner.tally if owner is not None else ())

    def assert_end(self) -> None:
        """The oracle, and that no earlier owner can do harm any more."""
        for socket in self.sockets:
            assert_journal(self.place, socket)
        for owner in self.zombies:
            self._wake(owner, owner.step)
            self._assert_fenced(owner)
        assert_look(self.place, self.gone, drained=True)
        self.foreign.assert_tags()

    def close(self) -> None:
        """End everything."""
        for owner in [*self.zombies, *self.writers, self.committer]:
            if owner is not None:
                owner.die()
        for socket in self.sockets:
            socket.die()
        self.place.close()

    # What a schedule may ask for.

    def _frames(self, action: Action) -> None:
        socket, market = self.sockets[action["shard"]], self.markets[action["shard"]]
        random = Random(action["seed"])

        def send() -> None:
            for _ in range(action["flushes"]):
                now_us = self.place.clock.now_us()
                frames = market.frames(random, action["count"], now_us)
                socket.send(frames, action["connection"])
                socket.flush()

        self._arm(socket.steps, action)
        self._sent(socket, send)
        socket.steps.disarm()

    def _line(self, action: Action) -> None:
        socket = self.sockets[action["shard"]]

        def note() -> None:
            if action["what"] == "gap":
                socket.gap(action["connection"], "disconnect")
            else:
                socket.fill(action["connection"])
            socket.flush()

        self._sent(socket, note)

    def _write(self, action: Action) -> None:
        writer = self._writer(action["shard"])
        self._arm(writer.steps, action)
        self._guard(writer, writer.step)

    def _commit(self, action: Action) -> None:
        committer = self._lake()
        self._arm(committer.steps, action)
        self._guard(committer, committer.step)

    def _keep(self, action: Action) -> None:
        committer = self._lake()
        if action["what"] == "remove":
            self._age_removals()
        self._arm(committer.steps, action)
        self._guard(committer, lambda: committer.keep(action["what"], action["dataset"]))

    def _succeed(self, action: Action) -> None:
        """A new process takes a shard over, and the lake if the old one had it."""
        old = self.writers[action["shard"]]
        if old is not None:
            old.stale = True
            self.zombies.append(old)
            self.writers[action["shard"]] = None
        self._writer(action["shard"])
        if action["shard"] == 0:
            self._usurp(action)

    def _usurp(self, action: Action) -> None:
        """Another process takes the lake over."""
        if self.committer is not None:
            self.committer.stale = True
            self.zombies.append(self.committer)
            self.committer = None
        self._lake()

    def _zombie(self, action: Action) -> None:
        if not self.zombies:
            return
        owner = self.zombies[action["n"] % len(self.zombies)]
        if action["what"] == "step" or isinstance(owner, Writer):
            self._wake(owner, owner.step)
        else:
            self._wake(owner, lambda: owner.keep(action["what"], action["dataset"]))

    def _foreign(self, action: Action) -> None:
        try:
            if self.foreign.act(action["what"], action["dataset"], action["n"]):
                self.tally[action["what"]] += 1
        except CommitFailedException:
            return  # lost a race, as anyone may

    def _drop(self, action: Action) -> None:
        clock = ManualClock(self.place.clock.now_us() + action["days"] * DAY_US)
        self._arm(self._drop_steps, action)
        try:
            with (
                psycopg.connect(self.place.dsn, autocommit=True) as connection,
                Client(self.place.dsn) as client,
            ):
                drop_due(connection, client, clock, steps=self._drop_steps)
        except (Crash, *SERVER_FAULTS):
            pass  # a later run goes on from what the server says
        self._drop_steps.disarm()
        self._note_dropped()

    def _kill(self, action: Action) -> None:
        if action["what"] in ("mover", "all"):
            self._end_mover(action["shard"])
        if action["what"] in ("socket", "all"):
            self.sockets[action["shard"]].die()

    def _cut(self, action: Action) -> None:
        """The power goes: everything ends, and the disk forgets."""
        for shard, socket in enumerate(self.sockets):
            self._end_mover(shard)
            socket.die()
        for owner in self.zombies:
            owner.die()
        self.zombies.clear()
        self.disk.cut(Random(action["seed"]))

    def _pages(self, action: Action) -> None:
        self.disk.drop_pages(Random(action["seed"]))

    def _clock(self, action: Action) -> None:
        self.place.clock.step(action["us"])

    def _look(self, action: Action) -> None:
        assert_look(self.place, self.gone)

    # How it is done.

    def _arm(self, steps: ArmedSteps, action: Action) -> None:
        steps.disarm()
        if "at" not in action:
            return
        fault = action["fault"]
        act = raising(fault, action["at"])
        if fault == "sever":
            act = self.place.sever
        elif fault == "inside":
            act = partial(self._inside, action["inside"])

        def counted() -> None:
            self.tally[f"{action['at']}={fault}"] += 1
            act()

        steps.arm(action["at"], counted, nth=action.get("nth", 1), times=action.get("times", 1))

    def _inside(self, actions: Sequence[Action]) -> None:
        for action in actions:
            self.act(action)
        self._state = self.place.state()

    def _sent(self, socket: Socket, op: Callable[[], None]) -> None:
        """Do something with an open journal; a fault leaves it for the next time."""
        try:
            if not socket.alive:
                socket.open()
            op()
        except Crash:
            socket.die()
        except (DiskFull, Unavailable):
            return

    def _guard(self, owner: Owner, op: Callable[[], bool | None]) -> bool | None:
        """Do one step of an owner as its process would; None when it failed."""
        if owner.busy and (isinstance(owner, Writer) or owner.lock.locked()):
            owner.steps.disarm()
            return None
        before, owner.busy = owner.busy, True
        introduced = owner.introduced
        try:
            return op()
        except Crash:
            self._end(owner)
        except Fenced:
            self.tally["fenced"] += 1
            assert owner.stale, "fenced, though nobody has taken over"
        except SERVER_FAULTS:
            owner.let_go()
        except DiskFull:
            self._end(owner)
        finally:
            owner.busy = before
            owner.steps.disarm()
        if owner.stale and introduced:
            self._assert_unchanged(self._state)
        return None

    def _wake(self, owner: Owner, op: Callable[[], bool | None]) -> None:
        """Let an owner that was succeeded do something: it must change nothing."""
        before, introduced = self.place.state(), owner.introduced
        try:
            op()
        except Fenced:
            self.tally["fenced"] += 1
        except SERVER_FAULTS:
            owner.let_go()
        if introduced:
            self._assert_unchanged(before)

    def _assert_unchanged(self, before: list[tuple[Any, ...]]) -> None:
        after = self.place.state()
        changed = sorted(set(before) ^ set(after))
        assert not changed, f"a fenced owner changed {changed}"

    def _assert_fenced(self, owner: Owner) -> None:
        with psycopg.connect(self.place.dsn, autocommit=True) as connection:
            try:
                beat(connection, owner.lease)
            except Fenced:
                return
        raise AssertionError(f"{owner.lease} beats on after its successor")

    def _end(self, owner: Owner) -> None:
        owner.die()
        if owner in self.zombies:
            self.zombies.remove(owner)
        elif isinstance(owner, Writer):
            self._end_mover(owner.shard)
        else:
            self._end_mover(0)

    def _end_mover(self, shard: int) -> None:
        """End a shard's process; the lake's owner lives in the first shard's."""
        writer, self.writers[shard] = self.writers[shard], None
        if writer is not None:
            writer.die()
        if shard == 0 and self.committer is not None:
            self.committer.die()
            self.committer = None

    def _writer(self, shard: int) -> Writer:
        found = self.writers[shard]
        if found is None:
            found = self.writers[shard] = Writer(self.place, shard)
        return found

    def _lake(self) -> Committer:
        if self.committer is None:
            writer = self.writers[0]
            self.committer = Committer(self.place, writer.recent if writer else None)
        return self.committer

    def _written(self, shard: int) -> bool:
        """Write everything durable; return whether that is done."""
        more: bool | None = True
        while more:
            writer = self._writer(shard)
            more = self._guard(writer, writer.step)
        return more is False

    def _age_removals(self) -> None:
        self.place.execute(
            "UPDATE market.lake_removals SET freed_at = freed_at - interval '1 hour'"
        )

    def _note_dropped(self) -> None:
        """Know what left hot: it may come from the lake alone from now on."""
        found = set(self.place.query("SELECT DISTINCT dataset, day FROM market.dropped_partitions"))
        self.tally["days dropped"] += len(found - self.gone)
        for dataset, _ in found - self.gone:
            self.foreign.floors[dataset] = self.place.last_frames()
        self.gone |= found
