"""What a writer knows of the ledger, and the events that commands make of it in one transaction."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from feature_repo.ledger.chain import link
from feature_repo.ledger.commands import (
    Change,
    Command,
    ImportOrder,
    Place,
    PositionCommand,
)
from feature_repo.ledger.event_rows import (
    CHAINS,
    ORDERS,
    POSITIONS,
    Event,
    cash_of,
    commands_done,
    last_positions,
    read_orders,
)
from feature_repo.ledger.order_event import OrderEvent
from feature_repo.ledger.order_state import FILLS, OrderState, decide, folded, opened
from feature_repo.ledger.position import (
    Following,
    PositionEvent,
    booked,
    instrument_of,
    noted,
    position_id,
)
from lake.errors import Refused

ORDERS_KNOWN_MAX = 50_000
"""Orders that a writer remembers; others are read when a command names them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command: its event, new or of an earlier time; or why it was refused.

    position: what a new fill changed.
    """

    event: Event | None
    is_new: bool = False
    refusal: Refused | None = None
    position: PositionEvent | None = None


@dataclass(slots=True)
class Head:
    """The end of a chain. not_before_us: no event is written as of an earlier time."""

    last_id: int
    hash: str
    not_before_us: int


class Known:
    """Orders, positions and cash as of the last event, as far as commands have named them."""

    def __init__(self) -> None:
        self.orders: OrderedDict[str, OrderState] = OrderedDict()
        self.positions: dict[str, PositionEvent] = {}
        self.cash: dict[str, int] = {}
        self.done: dict[tuple[str, str], PositionEvent] = {}

    def forget(self) -> None:
        """Know nothing: somebody else has written, or nobody knows whether we have."""
        self.orders.clear()
        self.positions.clear()
        self.cash.clear()

    def trim(self) -> None:
        """Forget the orders that were named longest ago, beyond ORDERS_KNOWN_MAX."""
        while len(self.orders) > ORDERS_KNOWN_MAX:
            self.orders.popitem(last=False)

    def read(self, connection: psycopg.Connection, commands: Sequence[Command]) -> None:
        """Learn what commands need to be decided."""
        self._read_orders(connection, commands)
        placed = {
            each.order_id: each.order.instrument
            for each in commands
            if isinstance(each, Place | ImportOrder)
        }
        wanted = {}
        asked = []
        for each in commands:
            if isinstance(each, PositionCommand):
                name = position_id(each.account, instrument_of(each))
                asked.append((name, each.command_id))
            elif not isinstance(each, Change):
                continue  # an order that is new holds nothing yet
            elif each.order_id in self.orders:
                name = position_id(each.account, self.orders[each.order_id].first.instrument)
            elif each.order_id in placed:
                name = position_id(each.account, placed[each.order_id])
            else:
                continue
            wanted[name] = each.account
        missing = [name for name in wanted if name not in self.positions]
        for event in last_positions(connection, missing) if missing else ():
            self.positions[event.position_id] = event
        accounts = sorted(set(wanted.values()) - set(self.cash))
        self.cash |= cash_of(connection, accounts) if accounts else {}
        found = commands_done(connection, asked) if asked else []
        self.done = {(each.position_id, each.command_id): each for each in found}

    @staticmethod
    def ask_ahead(connection: psycopg.Connection) -> None:
        """Ask of nothing what commands will ask: the server then has at hand what that needs."""
        read_orders(connection, [""])
        last_positions(connection, [""])
        cash_of(connection, [""])
        commands_done(connection, [("", "")])

    def _read_orders(self, connection: psycopg.Connection, commands: Sequence[Command]) -> None:
        unknown = set()
        for each in commands:
            if isinstance(each, PositionCommand):
                continue
            if each.order_id in self.orders:
                self.orders.move_to_end(each.order_id)
            else:
                unknown.add(each.order_id)
        if unknown:
            self.orders.update(folded(read_orders(connection, sorted(unknown))))


class Batch:
    """The events of one transaction; `known` moves with them."""

    def __init__(self, known: Known, heads: dict[str, Head], now_us: int) -> None:
        self._known = known
        self._heads = heads
        self._now_us = now_us
        self.events: dict[str, list[Event]] = {chain: [] for chain in CHAINS}
        self.hashes: dict[str, list[str]] = {chain: [] for chain in CHAINS}

    def take(self, command: Command) -> Outcome:
        """Decide one command."""
        try:
            if isinstance(command, PositionCommand):
                return self._take_position(command)
            state = self._known.orders.get(command.order_id)
            event, is_new = decide(
                state, command, event_id=self._heads[ORDERS].last_id + 1, created_us=self._now_us
            )
            if not is_new:
                return Outcome(event)
            position = self._booked(event) if event.event_type in FILLS else None
        except Refused as refusal:
            return Outcome(None, refusal=refusal)
        self._add(ORDERS, event)
        if state is None:
            self._known.orders[event.order_id] = opened(event)
        else:
            state.apply(event)
        if position is not None:
            self._hold(position)
        return Outcome(event, True, position=position)

    def _booked(self, fill: OrderEvent) -> PositionEvent:
        before = self._known.positions.get(position_id(fill.account, fill.instrument))
        return booked(before, fill, self._place(fill.account))

    def _take_position(self, command: PositionCommand) -> Outcome:
        name = position_id(command.account, instrument_of(command))
        before = self._known.positions.get(name)
        done = self._known.done.get((name, command.command_id))
        made = noted(None if done else before, command, self._place(command.account))
        if done is not None:
            if _said(done) != _said(made):
                fault = f"command {command.command_id} was given before, for something else"
                raise Refused(f"account {command.account}", fault, "give each command its own id")
            return Outcome(done)
        self._hold(made)
        self._known.done[(name, command.command_id)] = made
        return Outcome(made, True)

    def _place(self, account: str) -> Following:
        cash = self._known.cash.get(account, 0)
        return Following(self._heads[POSITIONS].last_id + 1, self._now_us, cash)

    def _hold(self, event: PositionEvent) -> None:
        self._add(POSITIONS, event)
        self._known.positions[event.position_id] = event
        self._known.cash[event.account] = event.cash_after

    def _add(self, chain: str, event: Event) -> None:
        head = self._heads[chain]
        head.last_id = event.id
        head.hash = link(head.hash, event.text())
        head.not_before_us = event.created_us
        self.events[chain].append(event)
        self.hashes[chain].append(head.hash)


def _said(event: PositionEvent) -> tuple[object, ...]:
    return (event.event_type, event.price, event.size, event.data)
