"""What is held, folded from what changed it: every fill, every price noted, money in and out.

A position is one instrument of one account. Its cost is the average of what opened it, as the
backtest's account has it; cash is the account's. Amounts are units of 1e-10.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from feature_repo.ledger.chain import Field, amount_text, canonical, data_text
from feature_repo.ledger.commands import (
    AMOUNT_MAX,
    NAMES_KEPT_MAX,
    Cash,
    Mark,
    PositionCommand,
)
from feature_repo.ledger.order_event import OrderEvent
from feature_repo.trading.account import Account
from feature_repo.trading.market import Instrument
from feature_repo.trading.money import times
from feature_repo.trading.order import Fill
from lake.errors import Refused

PositionEventType = Literal[
    "opened", "increased", "reduced", "closed", "turned", "marked", "moved", "imported"
]

CASH = Instrument("cash", "-", "-")
"""Where money that comes and goes is booked."""

_POSITIONS = uuid.UUID("0b0f3c7e-42d1-5f7a-9d0c-6c1e5f3f9a02")


@dataclass(frozen=True, slots=True)
class PositionEvent:
    """One change, and what stands after it. Times are microseconds UTC.

    order_event_id: the fill that made it, None for what no fill made. size: what came, below zero
    what went. size_after to fees_after: of the position; realised without fees. cash_after: of the
    account.
    """

    id: int
    position_id: str
    sequence_number: int
    event_type: PositionEventType
    event_time_us: int
    account: str
    command_id: str
    instrument: Instrument
    order_event_id: int | None
    price: int | None
    size: int
    fee: int
    size_after: int
    cost_after: int
    realised_after: int
    fees_after: int
    cash_after: int
    data: str
    created_us: int

    def text(self) -> str:
        """Return its canonical text."""
        return canonical(self.fields())

    def fields(self) -> tuple[Field, ...]:
        """Return what is hashed, in the order of the table's columns."""
        amounts = (
            *(self.price, self.size, self.fee),
            *(self.size_after, self.cost_after),
            *(self.realised_after, self.fees_after, self.cash_after),
        )
        return (
            *(self.id, self.position_id, self.sequence_number, self.event_type),
            *(self.event_time_us, self.account, self.command_id, *self.instrument),
            *(self.order_event_id, *map(amount_text, amounts), self.data, self.created_us),
        )


@dataclass(frozen=True, slots=True)
class Following:
    """Where an event goes: its id, when it is written, and the account's cash before it."""

    event_id: int
    created_us: int
    cash: int


@lru_cache(NAMES_KEPT_MAX)
def position_id(account: str, instrument: Instrument) -> str:
    """Return the id of a position, the same in every run."""
    return str(uuid.uuid5(_POSITIONS, "\n".join((account, *instrument))))


def booked(before: PositionEvent | None, fill: OrderEvent, place: Following) -> PositionEvent:
    """Return the event that a fill makes of a position; before: its last one, if any."""
    assert fill.price is not None
    assert fill.size is not None
    assert fill.fee is not None
    last = _next(before, fill.account, fill.instrument, fill.event_time_us, place)
    account = Account(place.cash)
    if last.size_after:
        account.positions[fill.instrument] = last.size_after
        account.costs[fill.instrument] = last.cost_after
    made = Fill(
        *(fill.client_order_id, fill.instrument, fill.event_time_us, fill.side),
        *(fill.price, fill.size, fill.fee, fill.liquidity == "maker"),
    )
    realised = account.apply(made)
    after = account.positions.get(fill.instrument, 0)
    return _within(
        replace(
            last,
            event_type=_what(last.size_after, after),
            command_id=f"fill {fill.id}",
            order_event_id=fill.id,
            price=fill.price,
            size=made.signed,
            fee=fill.fee,
            size_after=after,
            cost_after=account.costs.get(fill.instrument, 0),
            realised_after=last.realised_after + realised,
            fees_after=last.fees_after + fill.fee,
            cash_after=account.cash,
        )
    )


def noted(
    before: PositionEvent | None, command: PositionCommand, place: Following
) -> PositionEvent:
    """Return the event of a command; Refused for one that would open what is there."""
    instrument = instrument_of(command)
    last = _next(before, command.account, instrument, command.event_time_us, place)
    last = replace(last, command_id=command.command_id)
    if isinstance(command, Cash):
        after = place.cash + command.amount
        said = {"reason": command.reason, "source": command.source}
        data = data_text({name: word for name, word in said.items() if word})
        what: PositionEventType = "imported" if command.source else "moved"
        return _within(
            replace(last, event_type=what, size=command.amount, cash_after=after, data=data)
        )
    if isinstance(command, Mark):
        return replace(last, price=command.price)
    if before is not None:
        thing = f"position {instrument.ticker} of {command.account}"
        raise Refused(thing, "is there already", "import before the first fill")
    return replace(
        last,
        event_type="imported",
        price=command.price,
        size=command.size,
        fee=command.fees,
        size_after=command.size,
        cost_after=command.cost,
        realised_after=command.realised,
        fees_after=command.fees,
        data=data_text({"source": command.source}),
    )


def instrument_of(command: PositionCommand) -> Instrument:
    """Return where a command is booked."""
    return CASH if isinstance(command, Cash) else command.instrument


def value_of(event: PositionEvent) -> int:
    """Return what a position is worth at its last price; 0 without one."""
    return times(event.price, event.size_after) if event.price is not None else 0


def _next(
    before: PositionEvent | None, account: str, instrument: Instrument, at_us: int, place: Following
) -> PositionEvent:
    """Return an event after `before` that leaves everything as it is."""
    if before is None:
        return PositionEvent(
            id=place.event_id,
            position_id=position_id(account, instrument),
            sequence_number=1,
            event_type="marked",
            event_time_us=at_us,
            account=account,
            command_id="",
            instrument=instrument,
            order_event_id=None,
            price=None,
            size=0,
            fee=0,
            size_after=0,
            cost_after=0,
            realised_after=0,
            fees_after=0,
            cash_after=place.cash,
            data="{}",
            created_us=place.created_us,
        )
    return replace(
        before,
        id=place.event_id,
        sequence_number=before.sequence_number + 1,
        event_type="marked",
        event_time_us=at_us,
        order_event_id=None,
        size=0,
        fee=0,
        cash_after=place.cash,
        data="{}",
        created_us=place.created_us,
    )


def _within(event: PositionEvent) -> PositionEvent:
    amounts = (event.size_after, event.cost_after, event.realised_after, event.cash_after)
    if max(map(abs, amounts)) > AMOUNT_MAX:
        thing = f"account {event.account}"
        raise Refused(thing, "is beyond numeric(28,10)", "split the account")
    return event


def _what(held: int, after: int) -> PositionEventType:
    if not held:
        return "opened"
    if not after:
        return "closed"
    if held * after < 0:
        return "turned"
    return "increased" if abs(after) > abs(held) else "reduced"
