"""What is durable goes to the broker, or ends: trading was stopped, or the broker says no."""

from __future__ import annotations

import logging

from feature_repo.ledger.commands import Change, ChangeType
from lake.errors import TicklakeError, Unavailable
from serving.desk.term import Held, Step, Term

LOG = logging.getLogger("ticklake.desk")


def send(term: Term, held: Held, account: str, now_us: int, *, is_stopped: bool) -> None:
    """Send an order of an account; where trading was stopped meanwhile, it ends here.

    One of which no answer came is sent again even then: the broker may have it, and only one that
    it surely has can be taken back.
    """
    if is_stopped and not held.is_tried:
        reason = "trading was stopped before it was sent"
        _end(term, held, Change(account, *_named(held, "cancelled"), now_us, reason=reason))
        return
    try:
        term.send(held, now_us, is_stopped=is_stopped)
    except Unavailable as error:
        LOG.warning("%s", error)  # it may be there: the next turn sends it again
    except TicklakeError as error:
        _end(term, held, Change(account, *_named(held, "rejected"), now_us, reason=str(error)))


def _named(held: Held, how: ChangeType) -> tuple[str, ChangeType, str]:
    return held.order.client_id, how, "ended"


def _end(term: Term, held: Held, change: Change) -> None:
    """End an order that the broker is not to have."""
    held.is_sent = True
    term.steps.append(Step(held, change))
