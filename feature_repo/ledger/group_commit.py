"""Commands of many threads, durable together: one commit for whatever has come meanwhile."""

from __future__ import annotations

from concurrent.futures import Future
from queue import Empty, Full, Queue
from threading import Thread

from feature_repo.ledger.commands import Command
from feature_repo.ledger.known import Outcome
from feature_repo.ledger.writer import COMMANDS_MAX, Writer
from lake.clock import Clock
from lake.errors import Unavailable

WAITING_MAX = 10_000
"""Commands that wait; one more is refused at once, so that nobody waits for minutes."""

CLOSE_S_MAX = 10.0


class GroupCommit:
    """One writer behind a queue; any thread may submit."""

    def __init__(self, dsn: str, clock: Clock) -> None:
        self._writer = Writer(dsn, clock)
        self._waiting: Queue[tuple[Command, Future[Outcome]] | None] = Queue(WAITING_MAX)
        self._is_open = True
        self._thread = Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def submit(self, command: Command) -> Future[Outcome]:
        """Hand in a command; the future is done once it is durable or refused.

        It raises Unavailable where the server was away: give the same command again. Raises
        Unavailable itself when WAITING_MAX commands wait, or after close.
        """
        if not self._is_open:
            raise Unavailable("ledger", "is closed", "start the service")
        future: Future[Outcome] = Future()
        try:
            self._waiting.put_nowait((command, future))
        except Full:
            fault = f"{WAITING_MAX:,} commands wait"
            raise Unavailable("ledger", fault, "send fewer, or look at PostgreSQL") from None
        return future

    def close(self) -> None:
        """Do what waits, then end."""
        self._is_open = False
        self._waiting.put(None)
        self._thread.join(CLOSE_S_MAX)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            batch = [self._waiting.get()]
            try:
                while len(batch) < COMMANDS_MAX:
                    batch.append(self._waiting.get_nowait())
            except Empty:
                pass
            is_last = None in batch
            self._commit([each for each in batch if each is not None])
        self._writer.close()

    def _commit(self, batch: list[tuple[Command, Future[Outcome]]]) -> None:
        if not batch:
            return
        try:
            outcomes = self._writer.commit([command for command, _ in batch])
        except Exception as error:  # whatever it is, whoever waits must hear of it
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            future.set_result(outcome)
