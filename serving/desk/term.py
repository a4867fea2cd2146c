"""One term of a desk: from taking the lead of its account to losing it, with all it knows.

What a term knows is the ledger's state and what it has added since. It ends with the session that
holds the lead; the next one begins with the ledger again, so nothing that was only thought is kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from feature_repo.ledger.commands import Change, ChangeType
from feature_repo.ledger.group_commit import GroupCommit
from feature_repo.ledger.order_event import OrderEvent
from feature_repo.ledger.order_state import FILLS, LEGAL, OrderState
from feature_repo.trading.account import Account
from feature_repo.trading.limits import DAY_US
from feature_repo.trading.market import Instrument
from feature_repo.trading.order import Ended, Fill, Order
from lake.errors import TicklakeError, Unavailable
from serving.broker.broker import Accepted, Amended, BrokerReport, Unamended
from serving.desk.ledger_to_state import Stood, asked_for, order_of
from serving.desk.market import Market
from serving.desk.marks import mark
from serving.desk.venue import Again, Venue
from serving.risk.limits import RiskDesk, RiskLimits

LATE_US_MAX = 5_000_000
"""An order that was not sent for so long rests on what is old by now: it is taken back."""

RECENT_MAX = 1_000
"""Orders that ended last and are known without a look at the ledger."""


@dataclass(slots=True)
class Held:
    """An order that works, or is about to. state: None until it is durable.

    told: how much of it the broker has said to be filled. order: as it was asked for. counts: it is
    in the account's working orders. is_sent: the broker has it, or is not to have it; is_tried: it
    may have it. amendment: the one that is under way, "" for none; more: what it would add to the
    size; amend_fault: why the last came to nothing.
    """

    order: Order
    since_us: int
    state: OrderState | None = None
    told: int = 0
    counts: bool = True
    is_sent: bool = False
    is_tried: bool = False
    is_accepted: bool = False
    amendment: str = ""
    amend_fault: str = ""
    more: int = 0
    answered: threading.Event = field(default_factory=threading.Event)
    known: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def works(self) -> bool:
        """Tell whether anything can still become of it."""
        return self.state is None or bool(LEGAL[self.state.state])


@dataclass(slots=True)
class Step:
    """What is to be written of an order; fill: to be booked once it is."""

    held: Held
    change: Change
    fill: Fill | None = None


class Term:
    """State of one term; its desk's lock guards it."""

    def __init__(
        self,
        ledger: GroupCommit,
        venue: Venue,
        found: Stood,
        limits: RiskLimits,
        now_us: int,
        *,
        is_stopped: bool,
    ) -> None:
        self.ledger = ledger
        self.venue = venue
        self.account = found.account
        self.risk = RiskDesk(limits)
        self.held: dict[str, Held] = {}
        self._recent: OrderedDict[str, Held] = OrderedDict()
        self.steps: deque[Step] = deque()
        self.is_over = False
        self._day = now_us // DAY_US
        self.risk.at(now_us, Account(found.began))
        self.risk.restore(found.sent)
        for state in found.orders:
            self._take_back(state, now_us, is_stopped)

    @property
    def leads(self) -> bool:
        """Tell whether it goes on."""
        return not self.is_over and self.ledger.leads

    def ask(self, now_us: int, market: Market) -> None:
        """Let the limits see what all that is held is worth now; before each order."""
        mark(self.account, market)
        self._day = now_us // DAY_US
        self.risk.at(now_us, self.account)

    def pass_to(self, now_us: int, market: Market) -> None:
        """Let time go on: a day begins with what all is worth then, whoever asks for orders."""
        if now_us // DAY_US != self._day:
            self.ask(now_us, market)

    def found(self, client_id: str) -> Held | None:
        """Return an order that works, or has just ended."""
        return self.held.get(client_id) or self._recent.get(client_id)

    def hold(self, order: Order, now_us: int, *, counts: bool) -> Held:
        """Take an order in before it is durable. counts: it may become a position."""
        held = self.held[order.client_id] = Held(order, now_us, counts=counts)
        self.work(held, order.size)
        return held

    def drop(self, held: Held) -> None:
        """Let go of an order that has not become one; it may be asked for again."""
        self.held.pop(held.order.client_id, None)
        self.work(held, -held.order.size)
        if held.counts:
            self.risk.withdraw(held.order.client_id)
        held.known.set()
        held.ended.set()

    def send(self, held: Held, now_us: int, *, is_stopped: bool = False) -> None:
        """Send an order to the broker; Unavailable: it may be there, and is to be sent again.

        One that is late, or that trading was stopped for, is taken back; where it was tried before,
        the broker looks for it and does not send it anew.
        """
        broker, name = self.venue.broker, held.order.client_id
        self.held[name] = self.held.pop(name)  # where this fails, another comes first
        ends = is_stopped or now_us - held.since_us > LATE_US_MAX
        was_tried, held.is_tried = held.is_tried, True
        if not (was_tried and ends):
            try:
                broker.place(held.order, now_us)
            except Unavailable:
                raise
            except TicklakeError:
                held.is_tried = was_tried  # this try was answered, and left nothing there
                raise
        if ends:
            broker.cancel(name, now_us)
        held.is_sent = True

    def instruments(self) -> set[Instrument]:
        """Return where orders work."""
        return {each.order.instrument for each in self.held.values() if each.is_sent}

    def unsent(self) -> list[Held]:
        """Return what is durable and did not get to the broker."""
        return [each for each in self.held.values() if each.state is not None and not each.is_sent]

    def cancel_all(self, now_us: int) -> int:
        """Ask for the end of every order at the broker; return how many there are."""
        working = len(self.venue.broker.working())
        if working:
            self.venue.broker.cancel_all(now_us)
        return working

    def step_of(self, report: BrokerReport, account: str) -> Step | None:
        """Return what is to be written of a report; None for an order that is not held."""
        held = self.held.get(report.client_id)
        if held is None or held.state is None:
            return None
        last_us = max(each.event_time_us for each in held.state.commands.values())
        at_us = max(report.time_us, last_us)
        if isinstance(report, Accepted):
            held.is_accepted = True
            return Step(held, Change(account, report.client_id, "accepted", "accepted", at_us))
        if isinstance(report, Amended):
            amounts = report.price, report.size
            name = report.client_id
            return Step(held, Change(account, name, "amended", report.amendment, at_us, *amounts))
        if isinstance(report, Ended):
            name, reason = report.client_id, report.reason
            return Step(
                held, Change(account, name, _end(report, held), "ended", at_us, reason=reason)
            )
        if isinstance(report, Unamended):
            return None
        held.told += report.size
        # The size so far names a fill: told again after a restart, it is known by it.
        made = Change(
            *(account, report.client_id, "filled", f"filled {held.told}", at_us),
            *(report.price, report.size, report.fee, "maker" if report.maker else "taker"),
        )
        return Step(held, made, report)

    def unamended(self, report: Unamended) -> None:
        """Note that an order stays as it was."""
        held = self.held.get(report.client_id)
        if held is not None:
            held.amend_fault = f"stays as it was: {report.reason}"
            self._answer(held)

    def _answer(self, held: Held) -> None:
        """End what is under way of an amendment."""
        self.work(held, -held.more)
        held.more, held.amendment = 0, ""
        held.answered.set()

    def book(self, step: Step, event: OrderEvent, is_new: bool) -> None:
        """Take what was written; an event of an earlier time is in the state already."""
        held, state = step.held, step.held.state
        assert state is not None
        if not is_new:
            return
        size = state.size
        state.apply(event)
        if event.event_type == "amended":
            self._answer(held)
            self.work(held, state.size - size)
        if event.event_type in FILLS:
            assert step.fill is not None
            self.account.apply(step.fill)
            self.work(held, -step.fill.size)
        if not held.works:
            left = state.size - state.filled
            self._answer(held)
            self.work(held, -left)
            self._recent[held.order.client_id] = held
            self.held.pop(held.order.client_id, None)
            held.ended.set()
            while len(self._recent) > RECENT_MAX:
                self._recent.popitem(last=False)

    def _take_back(self, state: OrderState, now_us: int, is_stopped: bool) -> None:
        """Give the broker an order of before. One that nobody knows to be there is taken back at
        once where it is too old or trading is stopped: only the venue can say what became of it.
        """
        is_accepted = state.state != "created"
        placed_us = state.first.event_time_us
        order = order_of(state)
        held = Held(asked_for(state.first), placed_us, state, is_accepted=is_accepted)
        held.known.set()
        self.held[order.client_id] = held
        again = Again(order, placed_us, state.filled, is_accepted, held.order)
        held.told = self.venue.take_back(again, now_us)
        held.is_sent = True
        if is_stopped or (not is_accepted and now_us - placed_us > LATE_US_MAX):
            self.venue.broker.cancel(order.client_id, now_us)

    def work(self, held: Held, size: int) -> None:
        """Count so much more of an order as working; below zero: less."""
        if not held.counts:
            return
        order, working = held.order, self.account.working
        signed = size if order.side == "buy" else -size
        working[order.instrument] = working.get(order.instrument, 0) + signed


def _end(report: Ended, held: Held) -> ChangeType:
    """Return how an order ended; one that worked before it was refused is one taken back."""
    if report.state == "expired":
        return "expired"
    return "rejected" if report.state == "rejected" and not held.is_accepted else "cancelled"
