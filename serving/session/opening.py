"""A session begun, or gone on with: from its log and its journal to where the stream takes over."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.feature_set import MARKET
from feature_repo.ledger.beating import beating
from feature_repo.ledger.commands import TEXT_CHARACTERS_MAX
from feature_repo.ledger.writer import Writer
from lake.closes import Closes
from lake.errors import Unavailable
from lake.views.union_view import last_seq
from serving.live.journal_runs import RECALLED_MAX
from serving.live.once import Once
from serving.live.seed import seed_of
from serving.session import accounts, warm
from serving.session.answers import Answers, unanswered
from serving.session.forsaking import KILLED_FRAMES_MAX, forsaken, hindrance, is_long
from serving.session.minutes import GRACE_US
from serving.session.parts import Follow, Parts, ShardJournal, connected
from serving.session.plan import Plan, Start
from serving.session.play import Tables, play, recalled, rows_of_journal
from serving.session.rows_to_events import TRADES
from serving.session.session import Out, Session
from serving.session.session_log import Logged, SessionLog
from serving.session.words import Kind, Word, as_they_hold, left_out
from serving.streams.durable_watch import DurableWatch

LOG = logging.getLogger("ticklake.session")
LATE_US = 5_000_000
"""Frames that the ledger shows nothing of, and are older than this, are not traded on any more."""


class Opened(Closes):
    """A session that has all frames through `through`, with what it may write to.

    outs: what it said on the way. is_over: it is to be ended, and another begun; day_over: that
    one follows where its day ended. is_pressing: orders of it may work, so a kill can't wait.
    """

    def __init__(self, parts: Parts, ledger: Writer, log: SessionLog, logged: Logged) -> None:
        start = logged.start
        self.parts = parts
        self.ledger = ledger
        self.log = log
        self.words = list(logged.words)
        self.once = recalled(parts.journal.directory, parts.shard, start.first_frame)
        self.answers = Answers(parts.models, unanswered(self.words), parts.silence)
        self.session = Session(start, warm.read(parts.home, start.warm), self.answers)
        self.through = start.first_frame - 1
        self.outs: list[Out] = []
        self.is_over = self.day_over = False
        self.is_pressing = True
        self.stack = ExitStack()

    def close(self) -> None:
        """Let go of everything, the accounts' turn among it."""
        self.stack.close()

    def add(self, word: Word) -> Word:
        """Make a word durable, and return it."""
        start = self.session.start
        self.log.add(start.session, len(self.words) + 1, start.shard, word)
        self.words.append(word)
        return word

    def say(self, kind: Kind, **said: object) -> None:
        """Record a word after what was taken, and give it to the session."""
        self.session.word(self.add(Word(kind, self.through, self.session.clock_us, said)))
        self.outs += self.session.drain()

    def without(self, version: str, minutes: list[int], why: str) -> None:
        """Record minutes of which a version says nothing: the session goes on without."""
        said = {"version": version, "minutes": minutes, "why": why[:TEXT_CHARACTERS_MAX]}
        self.add(Word("no_answer", self.through, self.session.clock_us, said))
        name = self.session.start.session
        LOG.warning("session %s: a minute without an answer: %s", name, why)

    def play(self, words: Sequence[Word], through: int) -> None:
        """Take the journal's frames through one; Unavailable where trading is stopped meanwhile,
        and what is left would hold up the cancels.
        """
        read = rows_of_journal(self.parts.journal.directory, self.parts.shard, self.once)

        def rows(first: int, last: int) -> Iterator[Tables]:  # in pieces between two looks
            for at in range(first, last + 1, KILLED_FRAMES_MAX):
                yield from read(at, min(last, at + KILLED_FRAMES_MAX - 1))

        for outs in play(self.session, words, self.through + 1, through, rows):
            self.outs += outs
            is_far = self.is_pressing and is_long(self.session.frame, through)
            if is_far and self.parts.kill.is_on:
                name = f"session {self.session.start.session}"
                raise Unavailable(name, "is long, and trading was stopped", "begin anew")
        self.through = max(self.through, through)


def opened(parts: Parts, follow: Follow | None = None, forsake: str = "") -> Opened:
    """Take the accounts' turn; go on with the oldest session that is not closed, or begin one.

    One that can't be gone on with, since its journal is gone, trading is stopped and it is long, or
    for the reason that forsake gives, is closed with its orders taken back. Raises Unavailable
    then, and where the server is away; Fenced where another process has the turn.
    """
    with ExitStack() as stack:
        turns = turns_of(parts.plan, parts.shard)
        ledger = Writer(parts.dsn, parts.clock, leads=turns, beats=True, silent_ms=parts.silent_ms)
        stack.callback(ledger.close)
        ledger.take_lead()
        stack.enter_context(beating(ledger))
        log = stack.enter_context(SessionLog(parts.dsn))
        unclosed = log.unclosed(parts.shard, list(parts.plan.strategies))
        logged = unclosed[0] if unclosed else begun(parts, ledger, log, follow)
        why = (forsake or hindrance(parts, logged)) if unclosed else ""
        if why:
            forsaken(parts, ledger, log, logged, why)
            raise Unavailable(f"session {logged.start.session}", f"was closed: {why}", "begin anew")
        found = Opened(parts, ledger, log, logged)
        stack.callback(found.session.close)
        durable = parts.journal.durable()
        found.is_pressing = bool(unclosed) and not parts.kill.is_on
        if unclosed:
            found.add(Word("open", durable, parts.clock.now_us()))
        catch_up(found, durable)
        found.is_over |= found.session.ended or logged.start.plan != parts.plan or len(unclosed) > 1
        found.stack = stack.pop_all()
    return found


def turns_of(plan: Plan, shard: int) -> list[str]:
    """Return the names of what one process at a time may do: trade for an account on a shard."""
    return [f"account {account} on shard {shard}" for account in plan.strategies]


def begun(parts: Parts, ledger: Writer, log: SessionLog, follow: Follow | None) -> Logged:
    """Return a new session; it begins with the frame after what is on the disk once its warm-up is
    made, or followed.
    """
    digest = ""
    if parts.lake is None:
        through, started_us = follow or _there(parts)
    else:
        known, through, started_us = _warm(parts, follow)
        digest = warm.save(parts.home, known)
    epoch = DurableWatch(parts.client, parts.shard).refresh().epoch
    names = parts.shard, epoch, through + 1, started_us
    accounts.ensure(ledger, parts.plan, parts.clock.now_us())
    with log.alone(), connected(parts.dsn) as connection:
        beside = log.beside(parts.shard, list(parts.plan.strategies))
        openings = accounts.opened(connection, parts.plan, parts.shard, beside, started_us)
        start = log.begin(Start("", *names, parts.plan, openings, digest, parts.code))
    return log.read(start.session)


def catch_up(found: Opened, durable: int) -> None:
    """Take what the session had, then what has come since; that without orders where it is old.

    What has come since may be in the ledger already, but for orders: so only these are held back
    here, and the kill switch takes back what works after it.
    """
    parts, start = found.parts, found.session.start
    words = as_they_hold(found.words)
    with connected(parts.dsn) as connection:
        shown = accounts.last_frame(connection, start.session)
    places = [each.frame for each in words if each.kind not in ("open", "closed")]
    had = min(durable, max(found.through, shown, *places, *(b for _, b in left_out(words))))
    found.play(words, had)
    found.answers.note = found.without
    if found.session.ended:
        return
    now_us = parts.clock.now_us()
    following = next(parts.journal.runs(found.through, durable), None)
    if following is not None and not found.session.late:
        lag_us = now_us - int(following[1].received_us[0])
        killed = parts.kill.state().killed
        if lag_us > LATE_US or killed:
            found.say("late", lag_us=lag_us, killed=killed)
    upto = _last_of_day(parts.journal, found.through, durable, start.day_end_us, now_us)
    found.is_over = found.day_over = upto < durable
    found.play((), upto)


def _there(parts: Parts) -> tuple[int, int]:
    """Return the last frame on the disk, and a time before it was looked for: what was received
    before that is through that frame, but for what waits for the disk.
    """
    now_us = parts.clock.now_us()
    return parts.journal.durable(), now_us


def _warm(parts: Parts, follow: Follow | None) -> tuple[warm.Warm, int, int]:
    """Return what a session knows, the last frame that is in it, and when the session begins.

    Reading takes seconds beside a busy ingest: what came meanwhile is read, too, or the session
    would have to make up for it. Of a seed that is ahead, trades beyond that frame are left out.
    """
    assert parts.lake is not None
    with parts.lake() as client:
        through, started_us = follow or _there(parts)
        seed = seed_of(client, parts.shard, 0, MARKET, started_us - GRACE_US)
        after = max(seed.through, through - RECALLED_MAX)
        once = recalled(parts.journal.directory, parts.shard, after + 1)
        trades = _trades(parts, once, after, through)
        if follow is None:
            after = max(after, through)
            through, started_us = _there(parts)
            trades += _trades(parts, once, after, through)
        is_in = pc.less_equal(seed.waiting["seq"], last_seq(through))
        seed = replace(seed, waiting=seed.waiting.filter(is_in))
        return warm.warm_of(client, seed, trades, started_us - GRACE_US), through, started_us


def _trades(parts: Parts, once: Once, after: int, through: int) -> list[pa.Table]:
    taken = (once.take([run]).tables for run in parts.journal.runs(after, through))
    return [tables[TRADES] for tables in taken if TRADES in tables]


def _last_of_day(journal: ShardJournal, after: int, durable: int, end_us: int, now_us: int) -> int:
    """Return the last frame before one that was received at or after a day's end."""
    if now_us < end_us:
        return durable
    for _, frames in journal.runs(after, durable):
        later = np.flatnonzero(frames.received_us >= end_us)
        if len(later):
            return frames.first_frame + int(later[0]) - 1
    return durable
