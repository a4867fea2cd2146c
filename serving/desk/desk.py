"""Orders of one account on the ledger: asked, checked, written, and only then sent to a broker.

Whoever asks hears of an order once it is durable; whatever the broker says becomes an event before
anything is counted on it. One process leads; the others refuse, and take over when its session
ends. A thread of the desk's own takes the lead, shows the broker the market, writes what it says,
and notes prices for the snapshots.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from feature_repo.ledger.commands import Change, Place, order_id
from feature_repo.ledger.known import Outcome
from feature_repo.ledger.order_event import OrderEvent
from feature_repo.ledger.order_state import opened
from feature_repo.trading.order import Order
from lake.errors import Refused, TicklakeError, Unavailable, WrongUse
from serving.broker.broker import Unamended
from serving.desk import amendment
from serving.desk.again import does_not_work, placed_before, same_again
from serving.desk.amendment import Wish
from serving.desk.book import LedgerBook
from serving.desk.lead import ANSWER_S_MAX, DeskParts, DeskRules, Lead
from serving.desk.market import Rest, seen_of
from serving.desk.marks import marks_of, moment_of
from serving.desk.origin import origin_of
from serving.desk.rests import hold_until_durable, is_durable
from serving.desk.rows import order_row
from serving.desk.said import Placed, Refusal, RiskRefused, Row
from serving.desk.sending import Sending
from serving.desk.term import Held, Step, Term
from serving.risk import refusals
from serving.risk.limits import Asked, Breach

LOG = logging.getLogger("ticklake.desk")
TURN_S = 0.02
FAULT_S = 0.2
"""Between two turns, and after one that failed."""

HELD_MAX = 10_000
"""Orders that work at a time."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """An order as it was taken in, with the limits that it would pass."""

    order: Order
    held: Held
    breaches: list[Breach]
    rest: Rest | None
    at_us: int


class LedgerDesk:
    """An OrderDesk; any thread may use it, run() has one of its own."""

    def __init__(self, parts: DeskParts, rules: DeskRules) -> None:
        self._parts = parts
        self._rules = rules
        self._clock = parts.clock
        self._lead = Lead(parts, rules)
        self._lock = self._lead.lock
        self._ledger = LedgerBook(parts.dsn, parts.clock, parts.market)
        self._marked = moment_of(parts.clock.now_us())
        self._sending = Sending(rules.account, parts.clock, parts.is_stopped)
        self.ended = threading.Event()

    @property
    def leads(self) -> bool:
        """Tell whether this process may write for the account."""
        return self._lead.leads

    def run(self) -> None:
        """Work until `ended` is set; whatever fails is tried again."""
        wait_s = TURN_S
        while not self.ended.wait(wait_s):
            wait_s = TURN_S
            try:
                self.turn()
            except TicklakeError as error:
                LOG.warning("%s", error)
                wait_s = FAULT_S
            except Exception as error:  # a desk that stands still must not lead
                LOG.exception("desk")
                if self._lead.term is not None:
                    fault = f"stopped: {type(error).__name__}"
                    self._lead.lose(self._lead.term, TicklakeError("desk", fault, "see its log"))
                wait_s = FAULT_S
        self.close()

    def close(self) -> None:
        """Let the lead go."""
        if self._lead.term is not None:
            self._lead.term.ledger.close()
        self._ledger.close()

    def turn(self) -> None:
        """Do once what is to be done: lead, send, hear, write. Raises TicklakeError."""
        if not self.leads:
            self._lead.begin()
            return
        with self._lock:
            term = self._lead.leading()
            now_us = self._clock.now_us()
            term.pass_to(now_us, self._parts.market)
            away = self._speak(term, now_us)
            steps = [*term.steps]
            term.steps.clear()
        self._write(term, steps)
        self._mark(term, now_us)
        if away is not None:
            raise away

    def place(self, account: str, order: Order, by: str) -> Placed:
        """Place an order once; see OrderDesk. It is durable when this returns."""
        self._check(account, order.client_id)
        known = self._known(order)
        if known is not None:
            return known
        with self._lock:
            term = self._lead.leading()
            other = term.found(order.client_id)
            asked = self._ask(term, order) if other is None else None
        if asked is None:
            assert other is not None
            return same_again(other, order)
        try:
            return self._enter(term, asked, by)
        except BaseException:
            with self._lock:
                if asked.held.state is None:
                    term.drop(asked.held)
            raise

    def cancel(
        self, account: str, client_order_id: str, by: str, expected_sequence: int | None = None
    ) -> Row:
        """Ask for the end of an order, and wait for it a moment; see OrderDesk."""
        held = self._working(account, client_order_id, "cancel")
        with self._lock:
            term, state = self._lead.leading(), held.state
            assert state is not None
            amendment.is_expected(state, expected_sequence)
            term.venue.broker.cancel(client_order_id, self._clock.now_us())
        held.ended.wait(self._rules.cancel_s)
        return order_row(state)

    def amend(self, account: str, client_order_id: str, wish: Wish, by: str) -> Row:
        """Ask for another price or size of an order, and wait for it a moment; see OrderDesk."""
        held = self._working(account, client_order_id, "amend")
        told = self._parts.market.told(held.order.instrument)
        if told is not None:
            hold_until_durable(self._parts.rests, told.trade_rest, self._clock)
        with self._lock:
            term = self._lead.leading()
            if self._parts.is_stopped():
                raise Refused("trading", "is stopped", "an admin lets it go on")
            now_us = self._clock.now_us()
            term.ask(now_us, self._parts.market)
            refusal = amendment.begin(term, held, wish, seen_of(told), now_us)
        if refusal is not None:
            rows = self._refused(term, refusal, told.trade_rest if told else None, by)
            raise RiskRefused([{**row, "client_order_id": client_order_id} for row in rows])
        held.answered.wait(self._rules.cancel_s)
        with self._lock:
            return amendment.outcome(held)

    def _working(self, account: str, name: str, what: str) -> Held:
        """Return an order that works and is durable; WrongUse for none, Refused for one done."""
        self._check(account, name)
        with self._lock:
            held = self._lead.leading().held.get(name)
        if held is not None:
            held.known.wait(ANSWER_S_MAX)
        if held is None or held.state is None:
            raise does_not_work(self._ledger.state(order_id(account, name)), name, what)
        return held

    def cancel_all(self, by: str) -> int:
        """Ask for the end of every order; return how many there are. Needs no ledger."""
        with self._lock:
            term = self._lead.term
            return 0 if term is None else term.cancel_all(self._clock.now_us())

    def _check(self, account: str, name: str) -> None:
        if account != self._rules.account:
            remedy = f"orders by hand are {self._rules.account}'s"
            raise WrongUse(f"account {account}", "is not here", remedy)
        if not name:
            raise WrongUse("order", "has no client id", "give each its own")

    def _known(self, order: Order) -> Placed | None:
        """Return an order that is durable already, as it stands."""
        with self._lock:
            term = self._lead.term
            held = term.found(order.client_id) if term is not None and term.leads else None
        if held is not None:
            return None if held.state is None else placed_before(held.state, order)
        state = self._ledger.state(order_id(self._rules.account, order.client_id))
        return None if state is None else placed_before(state, order)

    def _ask(self, term: Term, order: Order) -> _Asked:
        """Ask switch and limits; count the order in."""
        if self._parts.is_stopped():
            raise Refused("trading", "is stopped", "an admin lets it go on")
        if len(term.held) >= HELD_MAX:
            raise Refused(f"{HELD_MAX:,} orders", "work already", "cancel some")
        now_us = self._clock.now_us()
        told = self._parts.market.told(order.instrument)
        seen = seen_of(told)
        term.ask(now_us, self._parts.market)
        if seen.price is not None:
            term.account.marks[order.instrument] = seen.price.value
        breaches = term.risk.breaches(Asked(order, term.account, seen.price, now_us, *seen[1:]))
        held = term.hold(order, now_us, counts=not breaches)
        return _Asked(order, held, breaches, told.trade_rest if told else None, now_us)

    def _enter(self, term: Term, asked: _Asked, by: str) -> Placed:
        """Write an order once what it rests on is durable, and send it."""
        held = asked.held
        if asked.breaches:
            refusal = Refusal(asked.order, asked.breaches, asked.at_us)
            raise RiskRefused(self._refused(term, refusal, asked.rest, by))
        hold_until_durable(self._parts.rests, asked.rest, self._clock)
        place = self._place(asked.order, asked.at_us, asked.rest, by)
        outcome = self._lead.done(term, term.ledger.submit(place))
        if not outcome.is_new:
            raise Unavailable(f"order {asked.order.client_id}", "was there already", "ask again")
        with self._lock:
            held.state = opened(_event(outcome))
            held.known.set()
            row = order_row(held.state)
            if term.leads:
                self._sending.send(term, held, self._clock.now_us())
        return Placed(row, True)

    def _place(self, order: Order, at_us: int, rest: Rest | None, by: str) -> Place:
        origin = origin_of(rest, by, self._parts.code)
        return Place(self._rules.account, order, at_us, origin)

    def _refused(self, term: Term, refusal: Refusal, rest: Rest | None, by: str) -> Sequence[Row]:
        """Keep a refusal in the ledger: an order that is created and rejected, in one step."""
        if not is_durable(self._parts.rests, rest, self._clock):
            rest = None  # what is not on the disk may never be there
        order, at_us, reason = refusal.order, refusal.at_us, refusals.words_of(refusal.breaches)
        place = self._place(order, at_us, rest, by)
        names = self._rules.account, order.client_id
        rejected = Change(*names, "rejected", refusals.COMMAND, at_us, reason=reason)
        futures = term.ledger.submit_together([place, rejected])
        *_, outcome = [self._lead.done(term, each) for each in futures]
        return refusals.breaches_of(_event(outcome))

    def _speak(self, term: Term, now_us: int) -> Unavailable | None:
        """Send, cancel and hear; return why the venue can't be reached, None where it can."""
        self._sending.send_new(term, now_us)
        term.venue.look(now_us, term.instruments())
        try:
            self._sending.cancel_stopped(term, now_us)
            self._sending.ask_again(term, now_us)
            self._hear(term, now_us)
        except Unavailable as error:
            return error
        return None

    def _hear(self, term: Term, now_us: int) -> None:
        """Note what the broker says, to be written."""
        for report in term.venue.broker.reports(now_us):
            step = term.step_of(report, self._rules.account)
            if isinstance(report, Unamended):
                term.unamended(report)
            elif step is None:
                LOG.error("the broker tells of %s, which is not held", report.client_id)
            else:
                term.steps.append(step)

    def _write(self, term: Term, steps: list[Step]) -> None:
        """Make events of what happened; the account changes once they are durable."""
        try:
            futures = [term.ledger.submit(each.change) for each in steps]
            for step, future in zip(steps, futures, strict=True):
                outcome = self._lead.done(term, future)
                with self._lock:
                    term.book(step, _event(outcome), outcome.is_new)
        except TicklakeError as error:
            self._lead.lose(term, error)  # the next term begins with what is written
            raise

    def _mark(self, term: Term, now_us: int) -> None:
        """Note prices of what is held, of every account, before a snapshot is drawn."""
        moment = moment_of(now_us)
        if moment == self._marked:
            return
        self._marked = moment
        for mark in marks_of(self._ledger.held(), self._parts.market, now_us):
            term.ledger.submit(mark)


def _event(outcome: Outcome) -> OrderEvent:
    assert isinstance(outcome.event, OrderEvent)
    return outcome.event
