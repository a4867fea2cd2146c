"""The processes of one simulated lakehouse: who owns what, and what a fault does to whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import psycopg

from lake.errors import DiskFull, Fenced, Unavailable
from lake.hot.lease import beat
from lake.ingest.mover_context import SERVER_FAULTS
from tests.path.chaos.actions import Action
from tests.path.chaos.disk import Disk
from tests.path.chaos.faults import ArmedSteps, Crash, raising
from tests.path.chaos.owners import Committer, Writer
from tests.path.chaos.place import Place
from tests.path.chaos.socket import Socket

Owner = Writer | Committer


class Processes:
    """Sockets and movers of one or two shards, and the owners that were succeeded.

    inside: does an action while a step of an owner waits.
    """

    def __init__(self, place: Place, shards: int, inside: Callable[[Action], None]) -> None:
        self.place = place
        self.disk = Disk(place.folder)
        self.sockets = [Socket(place, shard, self.disk) for shard in range(shards)]
        self.zombies: list[Owner] = []
        self.tally: Counter[str] = Counter()
        self._inside = inside
        self._writers: list[Writer | None] = [None] * shards
        self._committer: Committer | None = None
        self._state: list[tuple[Any, ...]] = []

    def writer(self, shard: int) -> Writer:
        """Return a shard's owner, started if there is none."""
        found = self._writers[shard]
        if found is None:
            found = self._writers[shard] = Writer(self.place, shard)
        return found

    def committer(self) -> Committer:
        """Return the lake's owner, started if there is none; it lives beside the first shard's."""
        if self._committer is None:
            writer = self._writers[0]
            self._committer = Committer(self.place, writer.recent if writer else None)
        return self._committer

    def succeed(self, shard: int) -> None:
        """Let a new process take a shard over, and the lake if the old one had it."""
        old = self._writers[shard]
        if old is not None:
            self._retire(old)
            self._writers[shard] = None
        self.writer(shard)
        if shard == 0:
            self.usurp()

    def usurp(self) -> None:
        """Let another process take the lake over."""
        if self._committer is not None:
            self._retire(self._committer)
            self._committer = None
        self.committer()

    def arm(self, steps: ArmedSteps, action: Action) -> None:
        """Let an action's fault happen at its step."""
        steps.disarm()
        if "at" not in action:
            return
        fault = action["fault"]
        act = raising(fault, action["at"])
        if fault == "sever":
            act = self.place.sever
        elif fault == "inside":
            act = partial(self._do_inside, action["inside"])

        def counted() -> None:
            self.tally[f"{action['at']}={fault}"] += 1
            act()

        steps.arm(action["at"], counted, nth=action.get("nth", 1), times=action.get("times", 1))

    def send(self, socket: Socket, op: Callable[[], None]) -> None:
        """Do something with an open journal; a fault leaves it for the next time."""
        try:
            if not socket.alive:
                socket.open()
            op()
        except Crash:
            socket.die()
        except (DiskFull, Unavailable):
            return

    def step(self, owner: Owner, op: Callable[[], bool | None]) -> bool | None:
        """Do one step of an owner as its process would; None when it failed."""
        if owner.busy and (isinstance(owner, Writer) or owner.lock.locked()):
            return None
        before, owner.busy = owner.busy, True
        introduced = owner.introduced
        result = None
        try:
            result = op()
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
        return result

    def wake(self, owner: Owner, op: Callable[[], bool | None]) -> None:
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

    def written(self, shard: int) -> bool:
        """Write everything durable; return whether that is done."""
        more: bool | None = True
        while more:
            writer = self.writer(shard)
            more = self.step(writer, writer.step)
        return more is False

    def end_mover(self, shard: int) -> None:
        """End a shard's process, and with the first shard's the lake's owner."""
        writer, self._writers[shard] = self._writers[shard], None
        if writer is not None:
            self._bury(writer)
        if shard == 0 and self._committer is not None:
            self._bury(self._committer)
            self._committer = None

    def end_all(self) -> None:
        """End everything: the power is gone, or the run is over."""
        for shard, socket in enumerate(self.sockets):
            self.end_mover(shard)
            socket.die()
        for owner in self.zombies:
            self._bury(owner)
        self.zombies.clear()

    def assert_fenced(self, owner: Owner) -> None:
        """An owner that was succeeded is told so by its next heartbeat."""
        with psycopg.connect(self.place.dsn, autocommit=True) as connection:
            try:
                beat(connection, owner.lease)
            except Fenced:
                return
        raise AssertionError(f"{owner.lease} beats on after its successor")

    def _do_inside(self, actions: Sequence[Action]) -> None:
        for action in actions:
            self._inside(action)
        self._state = self.place.state()

    def _retire(self, owner: Owner) -> None:
        owner.stale = True
        self.zombies.append(owner)

    def _end(self, owner: Owner) -> None:
        if owner in self.zombies:
            self.zombies.remove(owner)
            self._bury(owner)
        else:
            self.end_mover(owner.shard if isinstance(owner, Writer) else 0)

    def _bury(self, owner: Owner) -> None:
        self.tally.update(owner.tally)
        owner.die()

    def _assert_unchanged(self, before: list[tuple[Any, ...]]) -> None:
        changed = sorted(set(before) ^ set(self.place.state()))
        assert not changed, f"an owner that was succeeded changed {changed}"
