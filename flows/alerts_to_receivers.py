"""Tell receivers what is wrong and what is over: once each, however often this is called.

Each receiver has a thread of its own and one message a round, of all that it is to hear: one that
is away delays nobody, and a storm of alerts is one message. What it was told lies in the hot tier.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg

from flows.receivers import Receiver
from lake.clock import Clock, utc_from_us
from lake.errors import TicklakeError
from lake.hot.incidents import begin_try, due, end_try, reconcile
from lake.hot.turn import TURN_S_MAX, turn

LEASE = "alerts"


@dataclass(frozen=True, slots=True)
class Told:
    """One round: incidents opened and closed, notices sent; receiver -> why it was not reached."""

    opened: int
    closed: int
    sent: int
    faults: dict[str, str]

    def line(self) -> str:
        """Return it in words."""
        faults = "".join(f"; {fault}" for fault in self.faults.values())
        return f"{self.opened} opened, {self.closed} over, {self.sent} notices sent{faults}"


def tell(
    dsn: str, clock: Clock, receivers: Sequence[Receiver], *, wait_s: float = TURN_S_MAX
) -> Told:
    """Make incidents of alerts, and send every receiver what it was not told yet.

    Raises Unavailable while another run holds the turn, or the hot tier is not there.
    """
    with turn(dsn, LEASE, wait_s=wait_s):
        with psycopg.connect(dsn, autocommit=True) as connection:
            now = utc_from_us(clock.now_us())
            opened, closed = reconcile(connection, now, [each.name for each in receivers])
        with ThreadPoolExecutor(len(receivers)) as pool:
            done = list(pool.map(lambda each: _deliver(dsn, clock, each), receivers))
    faults = {
        receiver.name: fault
        for receiver, (_, fault) in zip(receivers, done, strict=True)
        if fault is not None
    }
    return Told(opened, closed, sum(sent for sent, _ in done), faults)


def _deliver(dsn: str, clock: Clock, receiver: Receiver) -> tuple[int, str | None]:
    """Send one receiver one message; return notices sent, and the fault if it did not arrive."""
    fault = None
    with psycopg.connect(dsn, autocommit=True) as connection:
        notices = due(connection, receiver.name, utc_from_us(clock.now_us()))
        if not notices:
            return 0, None
        begin_try(connection, receiver.name, notices, utc_from_us(clock.now_us()))
        try:
            receiver.send(notices)
        except TicklakeError as error:
            fault = str(error)
        end_try(connection, receiver.name, notices, utc_from_us(clock.now_us()), fault)
    return (0 if fault else len(notices)), fault
