"""What a connection asked for, and which events of a tick that is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from infra.exchange.ticks import TickRows

EVENTS = ("XT", "XQ", "XA", "XAS")


class Subscription:
    """A set of topics EVENT.PAIR, with PAIR * for every pair."""

    def __init__(self, names: Sequence[str]) -> None:
        self._places = {name: i for i, name in enumerate(names)}
        self._wanted = {event: np.zeros(len(names), np.bool_) for event in EVENTS}

    def change(self, topic: str, on: bool) -> str:
        """Subscribe to a topic or end that; return what is wrong with it, "" if nothing."""
        event, _, pair = topic.strip().partition(".")
        if event not in self._wanted:
            return f"unknown event in topic: {topic[:60]}"
        if pair == "*":
            self._wanted[event][:] = on
        elif pair in self._places:
            self._wanted[event][self._places[pair]] = on
        else:
            return f"unknown pair in topic: {topic[:60]}"
        return ""

    @property
    def wants_all(self) -> bool:
        """Tell whether every trade and quote is wanted."""
        return bool(self._wanted["XT"].all() and self._wanted["XQ"].all())

    @property
    def wants_any(self) -> bool:
        """Tell whether anything is wanted."""
        return any(wanted.any() for wanted in self._wanted.values())

    def key(self) -> bytes:
        """Return what tells equal subscriptions."""
        return b"".join(np.packbits(wanted).tobytes() for wanted in self._wanted.values())

    def pick(self, rows: TickRows) -> TickRows:
        """Return the wanted trades and quotes."""
        if self.wants_all:
            return rows
        trades, quotes = self._wanted["XT"], self._wanted["XQ"]
        return rows.take(np.where(rows.trade, trades[rows.pair], quotes[rows.pair]))

    def wants_bar(self, event: str, pair: int) -> bool:
        """Tell whether a pair's bar is wanted."""
        return bool(self._wanted[event][pair])
