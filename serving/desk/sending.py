"""What is durable goes to the broker, or ends: trading was stopped, or the broker says no."""

from __future__ import annotations

import logging
from collections.abc import Callable

from feature_repo.ledger.commands import Change, ChangeType
from lake.clock import Clock
from lake.errors import TicklakeError
from serving.desk.term import Held, Step, Term

LOG = logging.getLogger("ticklake.desk")
CANCEL_US = 500_000
"""Between two cancels of all while trading is stopped and some order still works."""

AGAIN_US = 200_000
"""After a try without an answer, before the next one of an order that was tried before."""


class Sending:
    """Sends the orders of an account; the lock of its desk guards it."""

    def __init__(self, account: str, clock: Clock, is_stopped: Callable[[], bool]) -> None:
        self._account = account
        self._clock = clock
        self._is_stopped = is_stopped
        self._cancelled_us: int | None = None
        self._failed_us: int | None = None

    def send(self, term: Term, held: Held, now_us: int) -> None:
        """Send an order; where trading was stopped meanwhile, it ends here.

        One that the broker may have is never ended here, whatever is said of a later try: it is
        tried again until the broker tells what became of it.
        """
        is_stopped = self._is_stopped()
        if is_stopped and not held.is_tried:
            self._end(term, held, "cancelled", now_us, "trading was stopped before it was sent")
            return
        try:
            term.send(held, now_us, is_stopped=is_stopped)
        except TicklakeError as error:
            if held.is_tried:
                LOG.warning("%s", error)
            else:
                self._end(term, held, "rejected", now_us, str(error))

    def send_new(self, term: Term, now_us: int) -> None:
        """Send what was not tried yet."""
        for held in term.unsent():
            if not held.is_tried:
                self.send(term, held, now_us)

    def cancel_stopped(self, term: Term, now_us: int) -> None:
        """Cancel all that the broker knows while trading is stopped. Raises Unavailable."""
        at_us = self._clock.monotonic_us()
        if self._is_stopped() and _is_due(self._cancelled_us, at_us, CANCEL_US):
            self._cancelled_us = at_us
            term.cancel_all(now_us)

    def ask_again(self, term: Term, now_us: int) -> None:
        """Try one order of which no answer came; each may wait for one, and a kill waits for it."""
        held = next((each for each in term.unsent() if each.is_tried), None)
        if held is not None and _is_due(self._failed_us, self._clock.monotonic_us(), AGAIN_US):
            self.send(term, held, now_us)
            self._failed_us = None if held.is_sent else self._clock.monotonic_us()

    def _end(self, term: Term, held: Held, how: ChangeType, now_us: int, reason: str) -> None:
        """End an order that the broker is not to have."""
        held.is_sent = True
        name = held.order.client_id
        change = Change(self._account, name, how, "ended", now_us, reason=reason)
        term.steps.append(Step(held, change))


def _is_due(last_us: int | None, now_us: int, apart_us: int) -> bool:
    return last_us is None or now_us - last_us >= apart_us
