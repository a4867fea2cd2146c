"""Commands of a session into the ledger, each once the frames that it rests on are on the disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice, takewhile

from feature_repo.ledger.commands import Command
from feature_repo.ledger.writer import COMMANDS_MAX, Writer
from lake.errors import Damaged, Unavailable
from serving.streams.durable_watch import DurableWatch
from serving.streams.keys import Place

WAITING_MAX = 100_000
"""Commands that wait for their frames."""


class Differs(Damaged):
    """The ledger has other orders of a session than it comes to."""


class CommandsToLedger:
    """Of one run of a session; one thread uses it.

    ledger: holds the turn of its accounts.
    """

    def __init__(self, ledger: Writer, watch: DurableWatch, session: str) -> None:
        self._ledger = ledger
        self._watch = watch
        self._session = session
        self._waiting: deque[tuple[Place | None, Command]] = deque()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def take(self, rests: Place | None, commands: Iterable[Command]) -> None:
        """Have commands wait for a frame, behind those before; None: for nothing.

        Raises Unavailable where too many wait.
        """
        self._waiting.extend((rests, command) for command in commands)
        if len(self._waiting) > WAITING_MAX:
            raise Unavailable("ledger", f"{WAITING_MAX:,} commands wait", "look at ingest's disk")

    def flush(self, wait_ms: int = 0) -> None:
        """Write what rests on frames that are on the disk; wait so long for news of it.

        Raises Differs where the ledger refuses one, Unavailable as may_go() does.
        """
        if not self._waiting:
            return
        first, last = self._waiting[0][0], self._waiting[-1][0]
        if last is not None:
            self._watch.want(last)
            self._watch.refresh()
        if wait_ms and first is not None and self._watch.about(first) == "waiting":
            self._watch.refresh(wait_ms)
        while batch := self._due():
            outcomes = self._ledger.commit(batch)
            for _ in batch:
                self._waiting.popleft()
            for outcome in outcomes:
                if outcome.refusal is not None:
                    name = f"session {self._session}"
                    fault = f"is not what the ledger has: {outcome.refusal}"
                    raise Differs(name, fault, "it is ended, and a new one begun")

    def may_go(self, rests: Place | None) -> bool:
        """Tell whether a frame is known to be on the disk; Unavailable where it never will be."""
        if rests is None:
            return True
        about = self._watch.about(rests)
        if about == "void":
            raise Unavailable("frames", "were lost before they were on the disk", "begin anew")
        return about == "durable"

    def _due(self) -> list[Command]:
        """Return the next commands whose frames are on the disk."""
        first = islice(self._waiting, COMMANDS_MAX)
        return [command for _, command in takewhile(lambda each: self.may_go(each[0]), first)]
