"""A session that can't be gone on with: its orders taken back as the ledger has them, and closed.

What the ledger has of it is the first so many of its events, since they are written in the order in
which they came; that number and what was taken back stand in its last word. So a replay comes to
the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from feature_repo.ledger.commands import TEXT_CHARACTERS_MAX, Change
from feature_repo.ledger.writer import COMMANDS_MAX, Writer
from serving.session import accounts
from serving.session.orders import prefix_of
from serving.session.parts import Parts, connected
from serving.session.play import kept_from
from serving.session.session_log import Logged, SessionLog
from serving.session.words import Kind, Word

EVENTS = "events"
"""In the last word of such a session: how many events the ledger had of it before."""

KILLED_FRAMES_MAX = 5_000
"""Frames that are played, in a fraction of a second, before the cancels of a kill. Where there are
more, what works is taken back as the ledger has it, and the session is closed."""


def hindrance(parts: Parts, logged: Logged) -> str:
    """Return why a session that is not closed can't be gone on with; "" where it can."""
    first = logged.start.first_frame
    if kept_from(parts.journal.directory) > first:
        return "its journal is gone"
    if not is_long(first, parts.journal.durable()) or not parts.kill.is_on:
        return ""
    return "trading was stopped" if cancels_of(parts, logged.start.session, "") else ""


def is_long(after: int, through: int) -> bool:
    """Tell whether there are more frames than a kill waits for."""
    return through - after > KILLED_FRAMES_MAX


def forsaken(parts: Parts, ledger: Writer, log: SessionLog, logged: Logged, why: str) -> None:
    """Take back what works of a session's orders, as the ledger has them, and close it."""
    start, now_us = logged.start, parts.clock.now_us()
    with connected(parts.dsn) as connection:
        events = accounts.events_of(connection, start.session)
        frame = max(start.first_frame - 1, accounts.last_frame(connection, start.session))
    cancels = take_back(parts, ledger, start.session, f"its session was abandoned: {why}")
    prefix = prefix_of(start.session)
    taken = [
        [each.account, each.client_order_id.removeprefix(prefix), each.event_time_us]
        for each in cancels
    ]
    held = {EVENTS: events, "through": parts.journal.durable(), "taken_back": taken}
    words: tuple[tuple[Kind, dict[str, object]], ...] = (("end", held), ("closed", {}))
    for number, (kind, more) in enumerate(words, len(logged.words) + 1):
        word = Word(kind, frame, now_us, {"broken": why, **more})
        log.add(start.session, number, start.shard, word)


def take_back(parts: Parts, ledger: Writer, session: str, reason: str) -> Sequence[Change]:
    """Cancel what works of a session's orders, as the ledger has them; return the cancels."""
    cancels = cancels_of(parts, session, reason)
    for i in range(0, len(cancels), COMMANDS_MAX):
        ledger.commit(cancels[i : i + COMMANDS_MAX])
    return cancels


def cancels_of(parts: Parts, session: str, reason: str) -> Sequence[Change]:
    """Return what ends the orders of a session that work, as the ledger has them."""
    with connected(parts.dsn) as connection:
        now_us, words = parts.clock.now_us(), reason[:TEXT_CHARACTERS_MAX]
        return accounts.cancels_of_working(connection, session, now_us, words)
