"""The moving-average cross in NautilusTrader's BacktestEngine.

It would fill at the close of the bar that a strategy has just seen, so each minute begins with a
quote at the bar's open (bid and ask the same), and the order goes out upon that. Only its run is
timed: making its objects takes longer. pip install nautilus_trader: it is no part of an extra.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import BTC, USD
from nautilus_trader.model.data import Bar, BarType, QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

MINUTE_NS = 60_000_000_000
START_NS = 1_700_000_040_000_000_000
"""Not zero: its engine (1.221) aborts there with a double free."""
VENUE = Venue("SIM")
ONE, PLENTY = Quantity.from_int(1), Quantity.from_int(1_000_000)
PAIR = CurrencyPair(
    instrument_id=InstrumentId(Symbol("BTCUSD"), VENUE),
    raw_symbol=Symbol("BTCUSD"),
    base_currency=BTC,
    quote_currency=USD,
    price_precision=2,
    size_precision=0,
    price_increment=Price.from_str("0.01"),
    size_increment=ONE,
    ts_event=0,
    ts_init=0,
    maker_fee=Decimal(0),
    taker_fee=Decimal(0),
)
BARS = BarType.from_str(f"{PAIR.id}-1-MINUTE-LAST-EXTERNAL")


class Cross(Strategy):  # type: ignore[misc]  # it has no types
    """Be long one unit while a target says so, from the quote after the bar on."""

    def __init__(self, targets: Sequence[int]) -> None:
        super().__init__()
        self.targets = targets
        self.wanted = self.held = self.bars = 0

    def on_start(self) -> None:
        self.subscribe_quote_ticks(PAIR.id)
        self.subscribe_bars(BARS)

    def on_bar(self, bar: Any) -> None:
        self.wanted = self.targets[self.bars]
        self.bars += 1

    def on_quote_tick(self, quote: Any) -> None:
        if self.wanted != self.held:
            side = OrderSide.BUY if self.wanted else OrderSide.SELL
            self.submit_order(self.order_factory.market(PAIR.id, side, ONE))
            self.held = self.wanted


def events_of(opens: Sequence[float], closes: Sequence[float]) -> list[Any]:
    """Return a quote and a bar for each minute."""
    events = []
    for n, (first, last) in enumerate(zip(opens, closes, strict=True)):
        begun = START_NS + n * MINUTE_NS
        ended = begun + MINUTE_NS - 1
        price, close = Price(first, 2), Price(last, 2)
        high, low = max(price, close), min(price, close)
        events.append(QuoteTick(PAIR.id, price, price, PLENTY, PLENTY, begun, begun))
        events.append(Bar(BARS, price, high, low, close, PLENTY, ended, ended))
    return events


def profit_of(
    opens: Sequence[float],
    closes: Sequence[float],
    targets: Sequence[int],
    cash: float,
    timed: Callable[[Callable[[], object]], tuple[object, float]],
) -> tuple[float, float]:
    """Return the profit, with what is still held at the last close, and the seconds of the run."""
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        VENUE,
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=USD,
        starting_balances=[Money(cash, USD)],
        bar_execution=False,
    )
    engine.add_instrument(PAIR)
    engine.add_data(events_of(opens, closes), sort=False)
    engine.add_strategy(Cross(targets))
    _, seconds = timed(engine.run)
    won = engine.portfolio.account(VENUE).balance_total(USD).as_double() - cash
    held = engine.portfolio.unrealized_pnl(PAIR.id, Price(closes[-1], 2))
    engine.dispose()
    return won + (held.as_double() if held is not None else 0.0), seconds
