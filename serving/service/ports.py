"""What the service needs of others: orders, predictions, history. Each may be missing.

Rows are what JSON holds: amounts are text in the unit of their currency or asset, digit by digit;
times are UTC microseconds. Whoever implements one of these says what is wrong with lake.errors:
WrongUse and BadInput for what the caller got wrong, Refused for what may not be done,
Unavailable where a server is away. Calls come from several threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from feature_repo.trading.market import Instrument
from feature_repo.trading.order import Order
from serving.desk.amendment import Wish
from serving.desk.said import Placed, Row
from serving.signals.prediction import Prediction as Prediction


class OrderDesk(Protocol):
    """Where orders are asked for: risk, kill switch, ledger and broker lie behind it."""

    def place(self, account: str, order: Order, by: str) -> Placed:
        """Place an order once by its client id; RiskRefused where a limit says no.

        It is durable when this returns. Raises Refused where the id is another order's already, and
        while trading is stopped; Unavailable where the same is to be asked again.
        """

    def cancel(
        self, account: str, client_order_id: str, by: str, expected_sequence: int | None = None
    ) -> Row:
        """Ask for the end of an order; WrongUse for one that is not there, Refused for one done, or
        at another event than expected_sequence.
        """

    def amend(self, account: str, client_order_id: str, wish: Wish, by: str) -> Row:
        """Ask for another price or size of an order, and return it as it stands a moment later.

        RiskRefused where a limit says no; Refused where it is done, filled by so much, at another
        event than was expected, or the broker leaves it as it was; WrongUse where it is not there.
        """

    def cancel_all(self, by: str) -> int:
        """Ask for the end of every working order; return how many there are."""


class OrderBook(Protocol):
    """Orders, positions and money as the ledger has them."""

    def orders(self, account: str, limit: int) -> Sequence[Row]:
        """Return orders as they stand, newest first; account "": of all."""

    def order(self, order: str) -> Row | None:
        """Return an order by its id or its client order id."""

    def events(self, order: str, limit: int) -> Sequence[Row]:
        """Return an order's events in their sequence; of order "": the newest of all, reversed."""

    def positions(self, account: str) -> Sequence[Row]:
        """Return what is held."""

    def pnl(self, account: str) -> Sequence[Row]:
        """Return cash, value, realised and unrealised by account."""

    def breaches(self, limit: int) -> Sequence[Row]:
        """Return orders that a limit refused, newest first: rule, reason, measured, limit."""


class Predictor(Protocol):
    """Models in use."""

    def predict(self, instrument: Instrument, *, explain: bool) -> Prediction | None:
        """Return what the model that is routed to says now; None where it has no fresh features."""

    def signals(self, limit: int) -> Sequence[Prediction]:
        """Return the newest predictions, the newest first."""


class History(Protocol):
    """Rows of the lake, for what is older than the speed layer keeps."""

    def bars(
        self, instrument: Instrument, interval: str, before_us: int, limit: int
    ) -> Sequence[Row]:
        """Return bars that began before a time, in their order, as serving.live.told has them."""

    def features(self, instrument: Instrument, before_us: int, limit: int) -> Sequence[Row]:
        """Return rows of features of minutes that ended before a time, in their order."""


class Watch(Protocol):
    """What stands beside the speed layer: freshness and alerts of the stores."""

    def alerts(self) -> Sequence[Row]:
        """Return open alerts: thing, fault, remedy, raised_us."""

    def freshness(self) -> Sequence[Row]:
        """Return by dataset the age of its newest event in seconds, None where there is none."""
