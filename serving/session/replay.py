"""A recorded session again, from the home's journal, or from the lake's tables."""

from __future__ import annotations

from pathlib import Path

from lake.errors import WrongUse
from lake.views.client import Client
from serving.session.answers import Answers, unanswered
from serving.session.models import Models, NoModels
from serving.session.opening import ShardJournal
from serving.session.orders import Orders
from serving.session.play import Rows, play, recalled, rows_of_journal, rows_of_lake
from serving.session.session import Session
from serving.session.session_log import Logged
from serving.session.warm import read
from serving.session.words import as_they_hold


def end_of(logged: Logged, journal: ShardJournal) -> int:
    """Return the last frame of a session; of one that goes on, the last that is on the disk."""
    ended = [each for each in as_they_hold(logged.words) if each.kind == "end"]
    return ended[0].frame if ended else journal.durable()


def orders_of_journal(home: Path, logged: Logged, models: Models | None = None) -> Orders:
    """Return a session's orders, decided again from the journal; Unavailable where it is gone."""
    start, journal = logged.start, journal_of(home, logged)
    once = recalled(journal.directory, start.shard, start.first_frame)
    rows = rows_of_journal(journal.directory, start.shard, once)
    return _orders(home, logged, end_of(logged, journal), rows, models)


def orders_of_lake(
    home: Path, logged: Logged, client: Client, models: Models | None = None
) -> Orders:
    """Return a session's orders as a backtest over the tables of trades and quotes has them."""
    through = end_of(logged, journal_of(home, logged))
    return _orders(home, logged, through, rows_of_lake(client, logged.start.shard), models)


def journal_of(home: Path, logged: Logged) -> ShardJournal:
    """Return the journal of a session's shard."""
    shard = logged.start.shard
    return ShardJournal(home / "journal" / f"shard-{shard}", shard)


def _orders(home: Path, logged: Logged, through: int, rows: Rows, models: Models | None) -> Orders:
    start, found = logged.start, Orders()
    if start.plan.wants_rows and models is None and _has_model(logged):
        raise WrongUse(f"session {start.session}", "had a model", "give its registry")
    answers = Answers(models or NoModels(), unanswered(logged.words))
    with Session(start, read(home, start.warm), answers) as session:
        for outs in play(session, logged.words, start.first_frame, through, rows):
            found.take(outs)
    return found


def _has_model(logged: Logged) -> bool:
    return any(each.kind == "model" and each.said["version"] for each in logged.words)
