"""The order flow cut into sending ticks, with late events moved to the tick they are sent at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from infra.exchange.frames import FrameRenderer
from infra.exchange.order_flow import Block, FlowState, OrderFlow

Ints = npt.NDArray[np.int64]

STATES_BYTES_MAX = 64 << 20
"""Memory of the states kept for history; with thousands of pairs fewer of them fit."""


@dataclass(frozen=True, slots=True)
class TickRows:
    """Events sent at one tick, one row of bytes each, and what truth and filters need of them."""

    rows: npt.NDArray[np.uint8]
    trade: npt.NDArray[np.bool_]
    pair: npt.NDArray[np.int16]
    venue: npt.NDArray[np.int8]
    trade_id: Ints
    time_ms: Ints
    price: Ints
    size: Ints

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, at: npt.NDArray[np.intp] | npt.NDArray[np.bool_] | slice) -> TickRows:
        """Return some of the events; a slice shares its memory."""
        return TickRows(*(getattr(self, name)[at] for name in self.__slots__))


def joined(parts: list[TickRows]) -> TickRows:
    """Return the events of several parts, in their order."""
    if len(parts) == 1:
        return parts[0]
    return TickRows(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in TickRows.__slots__)
    )


class TickFlow:
    """Hand out the events of tick after tick, making blocks as needed.

    states_max: blocks that can be made again later.
    """

    def __init__(self, flow: OrderFlow, renderer: FrameRenderer, states_max: int) -> None:
        self._flow = flow
        self._renderer = renderer
        first = flow.first_state()
        state_bytes = first.walk.nbytes + first.next_id.nbytes
        self._states_max = max(1, min(states_max, STATES_BYTES_MAX // state_bytes))
        self._state: FlowState | None = first
        self._made_upto = -1
        self._waiting: defaultdict[int, list[TickRows]] = defaultdict(list)
        self._states: list[tuple[int, FlowState]] = []
        self.late_ticks_max = 0
        block = flow.block(first)
        assert block is not None, "a flow of no events"
        self._nothing = self._all(block[0]).take(slice(0))

    @property
    def is_over(self) -> bool:
        """Tell whether every event has been handed out."""
        return self._state is None and not self._waiting

    def at(self, tick: int) -> TickRows:
        """Return the events sent at a tick, which may be none; ask for ticks in order."""
        while self._state is not None and self._made_upto <= tick:
            self._make()
        return joined(self._waiting.pop(tick, [self._nothing]))

    def _make(self) -> None:
        assert self._state is not None
        made = self._flow.block(self._state)
        if made is None:
            self._state = None
            return
        block, self._state = made
        self._states.append((int(block.tick[0]), block.state))
        del self._states[: -self._states_max]
        self._made_upto = int(block.tick[-1])
        for tick, rows in self._cut(block):
            self._waiting[tick].append(rows)

    def _cut(self, block: Block) -> Iterator[tuple[int, TickRows]]:
        """Yield (tick it is sent at, events) of a block."""
        sent_at = block.tick + block.late_ticks
        self.late_ticks_max = max(self.late_ticks_max, int(block.late_ticks.max()))
        everything = self._all(block)
        if block.late_ticks.any():
            order = np.argsort(sent_at, kind="stable")
            everything, sent_at = everything.take(order), sent_at[order]
        edges = np.flatnonzero(np.diff(sent_at, prepend=sent_at[0] - 1, append=sent_at[-1] + 1))
        for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            yield int(sent_at[start]), everything.take(slice(start, stop))

    def _all(self, block: Block) -> TickRows:
        return TickRows(
            self._renderer.rows(block),
            block.trade,
            block.pair,
            block.venue,
            block.trade_id,
            block.time_ms,
            block.price,
            block.size,
        )

    def again(self, from_tick: int, to_tick: int) -> Iterator[tuple[int, TickRows]]:
        """Make the events sent from a tick (inclusive) to a tick (exclusive) once more, in order.

        Raises LookupError for ticks whose states are no longer kept.
        """
        if from_tick >= to_tick:
            return
        states = list(self._states)
        early = from_tick - self.late_ticks_max
        first = 0
        for i, (tick, _) in enumerate(states):
            if tick <= early:
                first = i
        if not states or (states[first][0] > max(early, 0) and states[first][1].block > 0):
            raise LookupError("no longer kept")
        found: defaultdict[int, list[TickRows]] = defaultdict(list)
        for tick, state in states[first:]:
            if tick >= to_tick:
                break
            made = self._flow.block(state)
            for sent_at, rows in self._cut(made[0]) if made else ():
                if from_tick <= sent_at < to_tick:
                    found[sent_at].append(rows)
        for sent_at in sorted(found):
            yield sent_at, joined(found[sent_at])
