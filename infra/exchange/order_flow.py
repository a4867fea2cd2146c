"""Seeded, repeatable order flow: blocks of trades and quotes as arrays, no I/O and no clock.

A block is a pure function of the options and of the state before it, so that history can be made
again instead of kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from infra.exchange.options import ExchangeOptions
from infra.exchange.pairs import make_pairs
from infra.exchange.schedule import Schedule

VENUES = (1, 2, 6, 23)
"""Massive's exchange ids (x): Coinbase, Bitfinex, Bitstamp, Kraken."""

BLOCK_EVENTS_MAX = 8_192
"""Events of one block; the arrays of a block stay in the cache."""

BLOCK_EVENTS_MIN = 64
"""Events of one block at low rates."""

BLOCK_S = 0.1
"""A block spans about this long, where BLOCK_EVENTS_MIN and _MAX allow."""

TICK_US = 10_000
"""The exchange sends every 10 ms; events of one frame belong to one tick."""

DELAY_MS_MAX = 8
"""An event's exchange time is up to this long before it is passed on (exclusive)."""

VOLATILITY = 0.00006
"""Standard deviation of a pair's relative price change over one second."""

QUANTILES = 4_096
"""Rows of the quantile tables that turn random bits into normal and lognormal numbers."""

SIZE_SIGMA = 1.2
"""Sigma of the lognormal sizes."""

PAIR_SPOTS = 1 << 16
"""Rows of the table that turns random bits into a pair."""

SPREAD_TICKS_MAX = 3
"""Ticks between the mid price and either quote: 1 to this."""

ID_EPOCH_S = 1_600_000_000
IDS_PER_S = 100_000
"""First ids count from that epoch, so many a second: a restarted exchange never reuses one."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FlowState:
    """Where the flow stands before a block.

    block: its number; event: number of its first event; walk: each pair's price in ticks before it
    is folded into its range; next_id: of each (pair, venue).
    """

    block: int
    event: int
    walk: Ints
    next_id: Ints


@dataclass(frozen=True, slots=True)
class Block:
    """A run of trades and quotes in order of time, as parallel arrays.

    offset_us: since the first event of all; tick: number of the sending tick; pair, venue: indices;
    trade: row is a trade; side: 0 none, 1 sell, 2 buy (trades); time_ms: the exchange's;
    received_ms: when passed on; price, size: of trades, or the bid; ask_price, ask_size: of quotes
    (0 for trades); in price and size units; trade_id: 0 for quotes; late_ticks: ticks that the
    event is held back, 0 for none.
    """

    state: FlowState
    offset_us: Ints
    tick: Ints
    pair: npt.NDArray[np.int16]
    venue: npt.NDArray[np.int8]
    trade: npt.NDArray[np.bool_]
    side: npt.NDArray[np.int8]
    time_ms: Ints
    received_ms: Ints
    price: Ints
    size: Ints
    ask_price: Ints
    ask_size: Ints
    trade_id: Ints
    late_ticks: Ints

    def __len__(self) -> int:
        return len(self.tick)


class OrderFlow:
    """Make blocks from a state; the flow itself holds only constants."""

    def __init__(self, options: ExchangeOptions, *, base_us: int) -> None:
        self.pairs = make_pairs(options.tickers, options.seed)
        self.base_us = base_us
        self._options = options
        self._schedule = Schedule(options.rate, options.bursts)
        size = int(options.rate * BLOCK_S)
        self._block_events = min(BLOCK_EVENTS_MAX, max(BLOCK_EVENTS_MIN, size))
        shares = _shares(options)
        spots = (np.arange(PAIR_SPOTS) + 0.5) / PAIR_SPOTS
        self._pair_of = np.searchsorted(np.cumsum(shares), spots).astype(np.int16)
        normal = [NormalDist().inv_cdf((row + 0.5) / QUANTILES) for row in range(QUANTILES)]
        self._normal_1024 = np.round(np.array(normal) * 1024).astype(np.int64)
        self._size_1024 = np.round(np.exp(np.array(normal) * SIZE_SIGMA) * 1024).astype(np.int64)
        per_event = VOLATILITY * self.pairs.price / np.sqrt(np.maximum(shares * options.rate, 1e-6))
        self._sigma_1024 = np.clip(np.round(per_event * 1024), 64, 1 << 30).astype(np.int64)
        self._late_ticks_max = max(1, round(options.late_s * 1e6 / TICK_US))

    def first_state(self) -> FlowState:
        """Return the state before the first block."""
        seconds = max(1, self.base_us // 1_000_000 - ID_EPOCH_S)
        first_id = self._options.first_id or seconds * IDS_PER_S
        ids = np.full(len(self.pairs) * len(VENUES), first_id, np.int64)
        return FlowState(0, 0, self.pairs.price.copy(), ids)

    def block(self, state: FlowState) -> tuple[Block, FlowState] | None:
        """Return the block at state with the state after it, or None after the last event."""
        count = self._block_events
        if self._options.events:
            count = min(count, self._options.events - state.event)
        if count <= 0:
            return None
        bits = np.random.default_rng([self._options.seed, state.block])
        draw = bits.integers(0, 1 << 62, (5 if self._options.late else 4, count), np.int64)
        pair = self._pair_of.take(draw[0] & (PAIR_SPOTS - 1))
        venue = (draw[0] >> 52 & 3).astype(np.int8)
        trade = (draw[1] & 0xFFFF) < round(self._options.trade_share * 0x10000)
        side = np.where(trade, self._sides(draw[1] >> 16), 0).astype(np.int8)
        walk, mid = self._walk(state.walk, pair, draw[1] >> 21)
        price, ask_price = self._prices(mid, trade, side, pair, draw[1] >> 40)
        offset_us = self._schedule.offsets_us(state.event, count)
        tick = offset_us // TICK_US
        received_ms = (self.base_us + (tick + 1) * TICK_US) // 1000
        delay_ms = (draw[1] >> 44 & 0xFF) * DELAY_MS_MAX >> 8
        next_id, trade_id = _trade_ids(state.next_id, pair, venue, trade)
        block = Block(
            state=state,
            offset_us=offset_us,
            tick=tick,
            pair=pair,
            venue=venue,
            trade=trade,
            side=side,
            time_ms=(self.base_us + offset_us) // 1000 - delay_ms,
            received_ms=received_ms,
            price=price,
            size=self._sizes(pair, draw[2]),
            ask_price=ask_price,
            ask_size=np.where(trade, 0, self._sizes(pair, draw[3])),
            trade_id=trade_id,
            late_ticks=self._late_ticks(draw[-1]),
        )
        return block, FlowState(state.block + 1, state.event + count, walk, next_id)

    def _sides(self, bits: Ints) -> Ints:
        """Return 1 (sell) and 2 (buy) for 15 in 32 each, else 0."""
        value = bits & 31
        return np.where(value == 0, 0, 1 + (value & 1))

    def _walk(self, walk: Ints, pair: npt.NDArray[np.int16], bits: Ints) -> tuple[Ints, Ints]:
        """Return the walk after the block, and the mid price of each event in ticks."""
        step = self._normal_1024.take(bits & (QUANTILES - 1)) * self._sigma_1024.take(pair)
        step = (step + (1 << 19)) >> 20
        order = np.argsort(pair, kind="stable")
        sums = np.cumsum(step.take(order))
        counts = np.bincount(pair, minlength=len(walk))
        ends = np.cumsum(counts)
        totals = np.concatenate([np.zeros(1, np.int64), sums])
        before = totals[ends - counts]
        path = np.empty_like(sums)
        path[order] = sums + np.repeat(walk - before, counts)
        mid = self.pairs.price.take(pair)
        low = mid >> 1
        folded = np.abs((path - low) % (mid << 1) - mid)
        return walk + totals[ends] - before, low + mid - folded

    def _prices(
        self,
        mid: Ints,
        trade: npt.NDArray[np.bool_],
        side: npt.NDArray[np.int8],
        pair: npt.NDArray[np.int16],
        bits: Ints,
    ) -> tuple[Ints, Ints]:
        """Return trade price or bid, and ask, in price units."""
        half = 1 + (bits & 15) * SPREAD_TICKS_MAX // 16
        tick = self.pairs.tick.take(pair)
        away = np.where(trade, np.array([0, -1, 1], np.int64).take(side), -half)
        low = np.maximum(mid + away, 1)
        return low * tick, np.where(trade, 0, (low + 2 * half) * tick)

    def _sizes(self, pair: npt.NDArray[np.int16], bits: Ints) -> Ints:
        """Return lognormal sizes, whole lots, in size units."""
        size = self.pairs.size.take(pair) * self._size_1024.take(bits & (QUANTILES - 1)) >> 10
        size = size * (1024 + (bits >> 12 & 1023)) >> 10
        lot = self.pairs.lot.take(pair)
        return np.asarray(np.maximum(size // lot, 1) * lot)

    def _late_ticks(self, bits: Ints) -> Ints:
        if not self._options.late:
            return np.zeros(len(bits), np.int64)
        late = (bits & 0xFFFFF) < round(self._options.late * 0x100000)
        return np.where(late, 1 + (bits >> 20) % self._late_ticks_max, 0)


def _shares(options: ExchangeOptions) -> npt.NDArray[np.float64]:
    count = options.tickers
    rest = (1.0 - options.first_share) / max(count - 1, 1)
    return np.array([options.first_share] + [rest] * (count - 1))


def _trade_ids(
    next_id: Ints,
    pair: npt.NDArray[np.int16],
    venue: npt.NDArray[np.int8],
    trade: npt.NDArray[np.bool_],
) -> tuple[Ints, Ints]:
    """Return the next ids after the block, and each event's id (0 for quotes)."""
    rows = np.flatnonzero(trade)
    key = (pair.take(rows).astype(np.int32) << 2) + venue.take(rows)
    order = np.argsort(key.astype(np.uint16), kind="stable")
    counts = np.bincount(key, minlength=len(next_id))
    first = np.cumsum(counts) - counts
    ids = np.zeros(len(pair), np.int64)
    ids[rows.take(order)] = np.arange(len(rows)) + np.repeat(next_id - first, counts)
    return next_id + counts, ids
