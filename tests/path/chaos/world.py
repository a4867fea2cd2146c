"""Run a schedule against the real classes, one action at a time, in one thread."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from random import Random

import psycopg
from pyiceberg.exceptions import CommitFailedException

from lake.clock import ManualClock, SystemClock
from lake.ingest.codecs import codecs
from lake.ingest.hot_to_dropped import GRACE_S, drop_due
from lake.ingest.mover_context import SERVER_FAULTS
from lake.verify.journal_to_sealed import seal_due
from lake.views.client import Client
from tests.path.chaos.actions import DAY_US, Action
from tests.path.chaos.events import Market
from tests.path.chaos.faults import ArmedSteps, Crash
from tests.path.chaos.foreign import Foreign
from tests.path.chaos.oracle import assert_journal, assert_look, journalled
from tests.path.chaos.owners import Writer
from tests.path.chaos.place import DATASETS, Place
from tests.path.chaos.processes import Processes

SETTLE_TRIES_MAX = 40
TICK_US = 37_000


class World:
    """One lakehouse under a schedule; each action is the method of its name."""

    def __init__(self, place: Place, shards: int) -> None:
        self.place = place
        self.processes = Processes(place, shards, self.act)
        self.sockets = self.processes.sockets
        self.tally = self.processes.tally
        self._markets = [Market(shard) for shard in range(shards)]
        self._others = Foreign(place)
        self._gone: dict[tuple[str, date], int] = {}
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
        """Start what is not running, move everything durable to the lake, and keep it."""
        for socket in self.sockets:
            socket.steps.disarm()
            self.processes.send(socket, socket.flush)
        self._drain()
        for what in ("merge", "expire", "remove"):
            for dataset in DATASETS:
                self._keep({"what": what, "dataset": dataset})

    def assert_end(self) -> None:
        """The oracle, and that no earlier owner can do harm any more."""
        for socket in self.sockets:
            assert_journal(self.place, socket)
        for owner in self.processes.zombies:
            self.processes.wake(owner, owner.step)
            self.processes.assert_fenced(owner)
        assert_look(self.place, self.sockets, self._gone, drained=True)
        self._others.assert_tags()

    def close(self) -> None:
        """End everything."""
        self.processes.end_all()
        self.place.close()

    def _frames(self, action: Action) -> None:
        socket, market = self.sockets[action["shard"]], self._markets[action["shard"]]
        random = Random(action["seed"])

        def send() -> None:
            for _ in range(action["flushes"]):
                now_us = self.place.clock.now_us()
                frames = market.frames(random, action["count"], now_us)
                socket.send(frames, action["connection"])
                socket.flush()

        self.processes.arm(socket.steps, action)
        self.processes.send(socket, send)
        socket.steps.disarm()

    def _line(self, action: Action) -> None:
        socket = self.sockets[action["shard"]]

        def note() -> None:
            if action["what"] == "gap":
                socket.gap(action["connection"], "disconnect")
            else:
                socket.fill(action["connection"])
            socket.flush()

        self.processes.send(socket, note)

    def _write(self, action: Action) -> None:
        writer = self.processes.writer(action["shard"])
        if not writer.busy:
            self.processes.arm(writer.steps, action)
            self.processes.step(writer, writer.step)

    def _commit(self, action: Action) -> None:
        committer = self.processes.committer()
        if not committer.busy:
            self.processes.arm(committer.steps, action)
        self.processes.step(committer, committer.step)

    def _drain(self, action: Action | None = None) -> None:
        """Move everything durable to the lake."""
        for _ in range(SETTLE_TRIES_MAX):
            done = [self.processes.written(shard) for shard in range(len(self.sockets))]
            committer = self.processes.committer()
            if self.processes.step(committer, committer.step) is False and all(done):
                return
        raise AssertionError(f"not settled after {SETTLE_TRIES_MAX} rounds")

    def _keep(self, action: Action) -> None:
        what, dataset = action["what"], action["dataset"]
        if what == "remove":
            self.place.execute(
                "UPDATE market.lake_removals SET freed_at = freed_at - interval '1 hour'"
            )
        committer = self.processes.committer()
        if not committer.busy:
            self.processes.arm(committer.steps, action)
            self.processes.step(committer, lambda: committer.keep(what, dataset))

    def _succeed(self, action: Action) -> None:
        self.processes.succeed(action["shard"])

    def _usurp(self, action: Action) -> None:
        self.processes.usurp()

    def _zombie(self, action: Action) -> None:
        zombies = self.processes.zombies
        owner = zombies[action["n"] % len(zombies)] if zombies else None
        if owner is None or owner.busy:
            return
        if action["what"] == "step" or isinstance(owner, Writer):
            self.processes.wake(owner, owner.step)
        else:
            self.processes.wake(owner, lambda: owner.keep(action["what"], action["dataset"]))

    def _foreign(self, action: Action) -> None:
        try:
            if self._others.act(action["what"], action["dataset"], action["n"]):
                self.tally[action["what"]] += 1
        except CommitFailedException:
            return  # lost a race, as anyone may

    def _drop(self, action: Action) -> None:
        clock = ManualClock(self.place.clock.now_us() + action["days"] * DAY_US)
        self.processes.arm(self._drop_steps, action)
        try:
            with (
                psycopg.connect(self.place.dsn, autocommit=True) as connection,
                Client(self.place.dsn) as client,
            ):
                drop_due(connection, client, clock, steps=self._drop_steps)
                clock.advance(GRACE_S * 1_000_000)  # the first look sees that the lake holds them
                drop_due(connection, client, clock, steps=self._drop_steps)
        except (Crash, *SERVER_FAULTS):
            pass  # a later run goes on from what the server says
        self._drop_steps.disarm()
        self._note_dropped()

    def _seal(self, action: Action) -> None:
        """A day later: delete segments whose frames are proven in the lake, by their files' age."""
        for market in self._markets:
            market.pass_a_day()
        place, clock = self.place, ManualClock(SystemClock().now_us() + DAY_US)
        for socket in self.sockets:
            self.processes.send(socket, socket.flush)
            assert_journal(place, socket)
            socket.archive = {
                frame: (is_control, sent) for frame, is_control, sent in journalled(place, socket)
            }
        with psycopg.connect(place.dsn, autocommit=True) as connection:
            left = seal_due(connection, place.dsn, place.journal, codecs(), clock, keep_hours=1)
        self.tally["segments deleted"] += sum(each.deleted for each in left)

    def _kill(self, action: Action) -> None:
        if action["what"] in ("mover", "all"):
            self.processes.end_mover(action["shard"])
        if action["what"] in ("socket", "all"):
            self.sockets[action["shard"]].die()

    def _cut(self, action: Action) -> None:
        """The power goes: everything ends, and the disk forgets."""
        self.processes.end_all()
        self.processes.disk.cut(Random(action["seed"]))

    def _pages(self, action: Action) -> None:
        self.processes.disk.drop_pages(Random(action["seed"]))

    def _clock(self, action: Action) -> None:
        self.place.clock.step(action["us"])

    def _look(self, action: Action) -> None:
        assert_look(self.place, self.sockets, self._gone)

    def _note_dropped(self) -> None:
        """Know what left hot, again too: it may come from the lake alone from now on."""
        found = self.place.days_dropped()
        for (dataset, day), times in found.items():
            if times != self._gone.get((dataset, day)):
                self.tally["days dropped"] += 1
                self._others.keep(dataset, self.place.frames_of_day(dataset, day))
        self._gone = found
