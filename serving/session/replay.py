"""A recorded session again, from the home's journal, or from the lake's tables."""

from __future__ import annotations

from pathlib import Path

from feature_repo.trading.limits import DAY_US
from lake.clock import utc_from_us
from lake.errors import WrongUse
from lake.feeds.codec import INDEX_BITS
from lake.journal.segment import segments
from lake.views.client import Client
from serving.session.answers import Answers, unanswered
from serving.session.forsaking import EVENTS
from serving.session.models import Models, NoModels
from serving.session.orders import Orders
from serving.session.parts import ShardJournal
from serving.session.plan import Opening, Plan, Start
from serving.session.play import (
    Rows,
    kept_from,
    play,
    recalled,
    rows_of_journal,
    rows_of_lake,
)
from serving.session.rows_to_events import QUOTES, TRADES
from serving.session.session import Session
from serving.session.session_log import Logged
from serving.session.warm import read
from serving.session.words import Word, as_they_hold

NOT_HELD = "not-held"
"""Names sessions that nobody held."""


def end_of(logged: Logged, journal: ShardJournal) -> int:
    """Return the last frame of a session; of one that goes on, the last that is on the disk.

    Of one that was forsaken, the last that the ledger may have something of.
    """
    ended = [each for each in as_they_hold(logged.words) if each.kind == "end"]
    if ended and EVENTS in ended[0].said:
        return int(ended[0].said["through"])
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


def has_journal(home: Path, logged: Logged) -> bool:
    """Tell whether a home's journal still has a session's frames; the lake has them for longer."""
    directory = journal_of(home, logged).directory
    return bool(segments(directory)) and kept_from(directory) <= logged.start.first_frame


def orders_of_day(
    home: Path, plan: Plan, shard: int, day_us: int, client: Client, models: Models | None = None
) -> Orders:
    """Return what strategies would have ordered on a UTC day, over the tables of the lake, had a
    session of theirs been live: from a whole account, and without what was known before the day.
    """
    first, last = frames_of_day(client, shard, day_us)
    openings = {name: Opening(plan.cash) for name in plan.strategies}
    start = Start(f"{NOT_HELD}-{shard}", shard, 0, first, day_us, plan, openings)
    words = []
    if models is not None and plan.wants_rows:
        words = [Word("model", first - 1, day_us, {"version": models.newest()})]
    return _orders(home, Logged(start, words), last, rows_of_lake(client, shard), models)


def shards_of_day(client: Client, day_us: int) -> list[int]:
    """Return the shards whose frames of a UTC day the lake has."""
    rows = client.arrow(f"SELECT DISTINCT shard FROM ({_seqs_of(day_us)}) ORDER BY shard")
    return [int(each) for each in rows["shard"].to_pylist()]


def frames_of_day(client: Client, shard: int, day_us: int) -> tuple[int, int]:
    """Return the first and the last frame of a shard that was received on a UTC day."""
    day = f"SELECT min(seq) AS a, max(seq) AS b FROM ({_seqs_of(day_us)}) WHERE shard = {shard}"
    (row,) = client.arrow(day).to_pylist()
    return int(row["a"]) >> INDEX_BITS, int(row["b"]) >> INDEX_BITS


def _seqs_of(day_us: int) -> str:
    since, until = (utc_from_us(us).isoformat() for us in (day_us, day_us + DAY_US))
    return " UNION ALL ".join(
        f"SELECT shard, seq FROM {name} WHERE received_time >= TIMESTAMPTZ '{since}'"
        f" AND received_time < TIMESTAMPTZ '{until}'"
        for name in (TRADES, QUOTES)
    )


def journal_of(home: Path, logged: Logged) -> ShardJournal:
    """Return the journal of a session's shard."""
    shard = logged.start.shard
    return ShardJournal(home / "journal" / f"shard-{shard}", shard)


def _orders(home: Path, logged: Logged, through: int, rows: Rows, models: Models | None) -> Orders:
    start, ended = logged.start, logged.ended
    words, said = logged.words, {} if ended is None else ended.said
    if EVENTS in said:  # the ledger, and not the session, has taken back what worked
        words = [each for each in words if each.kind not in ("end", "closed")]
    found = Orders(said.get(EVENTS))
    if start.plan.wants_rows and models is None and _has_model(logged):
        raise WrongUse(f"session {start.session}", "had a model", "give its registry")
    answers = Answers(models or NoModels(), unanswered(logged.words))
    with Session(start, read(home, start.warm), answers) as session:
        for outs in play(session, words, start.first_frame, through, rows):
            found.take(outs)
            if found.is_full:
                break
    for account, name, at_us in said.get("taken_back", ()):
        found.take_back(account, name, at_us)
    return found


def _has_model(logged: Logged) -> bool:
    return any(each.kind == "model" and each.said["version"] for each in logged.words)
