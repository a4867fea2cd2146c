"""Prices of what is held: the newest for the limits, and noted before each snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from feature_repo.ledger.commands import Mark
from feature_repo.ledger.projection import MOMENT_US
from feature_repo.trading.account import Account
from feature_repo.trading.market import Instrument
from serving.desk.market import Market, seen_of

AHEAD_US = 10_000_000
"""How long before a snapshot: what is written before its moment counts."""

AGE_US_MAX = 60_000_000
"""An older price is not noted again: the one of the ledger stays."""


def mark(account: Account, market: Market) -> None:
    """Give an account the newest price of all that it holds, or has orders out for."""
    out = (each for each, size in account.working.items() if size)
    for instrument in {*account.positions, *out}:
        price = seen_of(market.told(instrument)).price
        if price is not None:
            account.marks[instrument] = price.value


def moment_of(now_us: int) -> int:
    """Return the number of the next snapshot that is to be marked by now."""
    return (now_us + AHEAD_US) // MOMENT_US


def marks_of(held: Iterable[tuple[str, Instrument]], market: Market, now_us: int) -> Iterator[Mark]:
    """Yield a mark for each (account, instrument) that has a price, once for each snapshot."""
    for account, instrument in held:
        price = seen_of(market.told(instrument)).price
        if price is None or price.age_us(now_us) > AGE_US_MAX:
            continue
        name = f"mark {moment_of(now_us)}"
        yield Mark(account, instrument, price.value, price.time_us, name)
