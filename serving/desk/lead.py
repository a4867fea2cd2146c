"""Who may write for an account: terms that begin with the ledger and end with their session."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from feature_repo.ledger.commands import Cash
from feature_repo.ledger.group_commit import GroupCommit
from feature_repo.ledger.known import Outcome
from lake.clock import Clock
from lake.errors import Fenced, TicklakeError, Unavailable
from serving.desk.ledger_to_state import stood
from serving.desk.market import Market
from serving.desk.rests import Rests
from serving.desk.term import Term
from serving.desk.venue import Venue
from serving.risk.limits import RiskLimits

AGAIN_S = 1.0
"""Between two tries to lead."""

ANSWER_S_MAX = 5.0
"""How long anybody waits for the ledger; then nobody knows, and the same may be asked again."""

OPENING = "opening"
"""The command that brings an account its first money, once."""


@dataclass(frozen=True, slots=True)
class DeskRules:
    """account, and the money that it begins with (units); limits of its orders.

    cancel_s: how long a cancel waits for the order's end before it says how the order stands.
    """

    account: str
    cash: int
    limits: RiskLimits
    cancel_s: float = 1.0


@dataclass(frozen=True, slots=True)
class DeskParts:
    """What a desk stands on. venue: made anew for each term; is_stopped: the kill switch; code:
    version of the code, as code_hash() has it.
    """

    dsn: str
    clock: Clock
    market: Market
    rests: Rests
    is_stopped: Callable[[], bool]
    venue: Callable[[], Venue]
    code: str


class Lead:
    """The terms of one account in this process, one after another. lock: of the term's state."""

    def __init__(self, parts: DeskParts, rules: DeskRules) -> None:
        self._parts = parts
        self._rules = rules
        self._tried_us: int | None = None
        self._said = TicklakeError(f"account {rules.account}", "is being opened", "ask again")
        self.lock = threading.RLock()
        self.term: Term | None = None

    @property
    def leads(self) -> bool:
        """Tell whether this process may write for the account, as far as it has heard."""
        return self.term is not None and self.term.leads

    def leading(self) -> Term:
        """Return the term; Unavailable where another process leads, or the ledger is away."""
        if self.term is None or not self.term.leads:
            raise Unavailable(self._said.thing, self._said.fault, self._said.remedy)
        return self.term

    def lose(self, term: Term, error: TicklakeError) -> None:
        """End a term: what it thinks is not what the ledger has, or nobody knows."""
        self._said = error
        term.is_over = True
        term.ledger.leave()

    def begin(self) -> None:
        """Try to lead, every AGAIN_S; what stands in the way is what leading() says."""
        now_us = self._parts.clock.monotonic_us()
        if self._tried_us is not None and now_us - self._tried_us < AGAIN_S * 1e6:
            return
        self._tried_us = now_us
        if self.term is not None:
            self.term.ledger.leave()
        account, clock = self._rules.account, self._parts.clock
        try:
            ledger = GroupCommit(self._parts.dsn, clock, lead=f"account {account}")
        except (Fenced, Unavailable) as error:
            self._said = error
            return
        try:
            term = self._term(ledger)
        except BaseException as error:
            ledger.leave()
            if not isinstance(error, TicklakeError):
                raise
            self._said = error
            return
        with self.lock:
            self.term = term
            self._said = TicklakeError(f"account {account}", "has lost its session", "ask again")

    def done(self, term: Term, future: Future[Outcome]) -> Outcome:
        """Return what became of a command; Unavailable, and the term is over, where it is unknown.

        Raises Refused where the ledger said no.
        """
        try:
            outcome = answered(future)
        except TicklakeError as error:
            self.lose(term, error)
            raise Unavailable(error.thing, error.fault, "ask the same again") from error
        if outcome.refusal is not None:
            raise outcome.refusal
        return outcome

    def _term(self, ledger: GroupCommit) -> Term:
        parts, rules = self._parts, self._rules
        at_us = parts.clock.now_us()
        opening = Cash(rules.account, rules.cash, at_us, OPENING, "opening on paper")
        answered(ledger.submit(opening))
        reach_us = max(rules.limits.per_us, rules.limits.duplicate_us or 0)
        found = stood(parts.dsn, rules.account, parts.clock, at_us - reach_us)
        now_us, stopped = parts.clock.now_us(), parts.is_stopped()
        return Term(ledger, parts.venue(), found, rules.limits, now_us, is_stopped=stopped)


def answered(future: Future[Outcome]) -> Outcome:
    """Return what became of a command; Unavailable where it is not heard of in time."""
    try:
        return future.result(ANSWER_S_MAX)
    except TimeoutError as error:
        fault = f"did not answer in {ANSWER_S_MAX:g} s"
        raise Unavailable("ledger", fault, "ask the same again") from error
