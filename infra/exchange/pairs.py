"""The simulated instruments: names, first prices, tick sizes, lots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PRICE_UNITS = 10_000
"""Price units in one dollar: prices are whole numbers of 0.0001."""

SIZE_UNITS = 100_000_000
"""Size units in one coin: sizes are whole numbers of 0.00000001."""

FIRST_PRICES = {"BTC-USD": (60_000.0, 100), "ETH-USD": (3_000.0, 100)}
"""Dollars and tick (in price units) of the pairs with a name of their own."""

TRADE_DOLLARS = 1_500.0
"""Median worth of one trade."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """One row per pair, as parallel arrays.

    price: first price in ticks; tick: price units in one tick; size: median size and lot: smallest
    step of the size, both in size units; all int64.
    """

    names: tuple[str, ...]
    price: npt.NDArray[np.int64]
    tick: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    lot: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)


def pair_names(count: int) -> tuple[str, ...]:
    """Return BTC-USD, ETH-USD, SIM003-USD and so on."""
    return ("BTC-USD", "ETH-USD", *(f"SIM{number:03d}-USD" for number in range(3, count + 1)))[
        :count
    ]


def make_pairs(count: int, seed: int) -> Pairs:
    """Return count pairs with prices from 0.5 to 500 dollars drawn by seed."""
    names = pair_names(count)
    drawn = np.exp(np.random.default_rng([seed, count]).uniform(np.log(0.5), np.log(500), count))
    known = [FIRST_PRICES.get(name) for name in names]
    dollars = np.array([k[0] if k else p for k, p in zip(known, drawn.tolist(), strict=True)])
    tick = np.array([k[1] if k else 1 for k in known], np.int64)
    lot = 10 ** np.clip(np.round(np.log10(60_000.0 / dollars)), 0, 6).astype(np.int64)
    size = np.round(TRADE_DOLLARS / dollars * SIZE_UNITS).astype(np.int64)
    return Pairs(names, np.round(dollars * PRICE_UNITS / tick).astype(np.int64), tick, size, lot)
