"""What waits for Redis: bounded, and under overload quotes go before trades, every one counted.

A slice that does not fit first loses its own quotes, then makes those lose theirs that wait; only
what is left of it then is dropped whole. Above a mark quotes are not taken at all until it has gone
down to a lower one, so that a queue that is always nearly full does not decide frame by frame.

Whether a frame holds quotes alone is looked at once, whatever comes of it, and above the mark some
of what waits with each offer: when the queue is full no offer has to look through all of it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lake.ingest.intake import Slice
from serving.streams.entry import Drop, Kind

FRAMES_MAX = 50_000
BYTES_MAX = 32 << 20
"""Frames and bytes that wait at most."""

SHED_FROM = 0.5
SHED_UNTIL = 0.25
"""Parts of either bound: quotes are left out from the one on, and taken again below the other."""

LOOKS = 2
"""Frames that wait and are looked at, for each that is offered above the mark."""

MORE_THAN_QUOTES: Mapping[str, tuple[bytes, ...]] = {
    "massive": (b'"XT"', b'"XA'),
    "sim": (b'"XT"', b'"XA'),
    "coinbase": (b'match"',),
    "kraken": (b'"trade"',),
    "binance.spot": (b'rade"', b'"kline"'),
    "binance.usdm": (b'rade"', b'"kline"'),
    "binance.coinm": (b'rade"', b'"kline"'),
}
"""Feed -> words, one of which a frame holds that is more than quotes. Of another feed all are."""


@dataclass(slots=True)
class Waiting:
    """Frames that wait; numbers, frames and received_us are as long as each other.

    quotes: which of them hold quotes alone; None before anybody looked.
    """

    given: Slice
    numbers: list[int]
    frames: list[bytes]
    received_us: list[int]
    bytes: int
    quotes: list[bool] | None = None

    @property
    def may_shed(self) -> bool:
        """Tell whether there may be quotes alone in it."""
        return self.given.feed in MORE_THAN_QUOTES


class SheddingQueue:
    """Between the reader's loop, which offers and never waits, and the publisher's thread."""

    def __init__(self, *, frames_max: int = FRAMES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._frames_max = frames_max
        self._bytes_max = bytes_max
        self._waiting: deque[Waiting] = deque()
        self._unseen: deque[Waiting] = deque()
        self._with_quotes: deque[Waiting] = deque()
        self._drops: dict[tuple[str, Kind], Drop] = {}
        self._changed = threading.Condition()
        self._passing: dict[str, list[int]] = {}
        self._shut = False
        self.muted = False
        """While nobody listens."""
        self.frames = 0
        self.bytes = 0
        self.shedding = False
        self.dropped: dict[Kind, int] = {"quotes": 0, "trades": 0}
        """Frames left out so far."""
        self.unheard = 0
        """Frames that came while nobody listened."""
        self.looked = 0
        """Frames that were looked at for what they hold."""

    def offer(self, given: Slice) -> None:
        """Take frames, or count what does not fit."""
        if self.muted:  # told by the first and the last: it costs the reader's loop nothing
            with self._changed:
                if self.muted:
                    last = given.first_frame + len(given.frames) - 1
                    self._pass_by(given.feed, range(given.first_frame, last + 1), given.received_us)
                    return
        first = given.first_frame
        numbers = list(range(first, first + len(given.frames)))
        size = sum(map(len, given.frames))
        one = Waiting(given, numbers, given.frames, given.received_us, size)
        with self._changed:
            if self._shut:
                self._drop_all(one)
                return
            self._watch()
            if self.shedding or not self._fits(one):
                self._shed(one)
            if not self._fits(one):
                self._shed_waiting(one)
            if not self._fits(one):
                self._drop_all(one)
            if one.frames:
                self._waiting.append(one)
                if one.may_shed and one.quotes is None:
                    self._unseen.append(one)
                self.frames += len(one.frames)
                self.bytes += one.bytes
            if self.shedding:
                self._look(LOOKS * len(given.frames))
            self._changed.notify()

    def take(self, frames_max: int, wait_s: float) -> tuple[list[Waiting], list[Drop]]:
        """Return what waits, in its order, and with it what was dropped since; may wait for it."""
        with self._changed:
            if not self._waiting and not self._shut and wait_s:
                self._changed.wait(wait_s)
            taken: list[Waiting] = []
            count = 0
            while self._waiting and count < frames_max:
                one = self._waiting.popleft()
                for parts in (self._unseen, self._with_quotes):
                    if parts and parts[0] is one:
                        parts.popleft()
                if not one.frames:
                    continue  # all of it was shed while it waited
                taken.append(one)
                count += len(one.frames)
                self.frames -= len(one.frames)
                self.bytes -= one.bytes
            self._watch()
            if not taken:
                return [], []
            drops, self._drops = list(self._drops.values()), {}
            return taken, drops

    def shut(self) -> None:
        """Count all that waits, and all that is offered from now on, as dropped."""
        with self._changed:
            self._shut = True
            while self._waiting:
                self._drop_all(self._waiting.popleft())
            self._forget()
            self._changed.notify()

    def open(self) -> None:
        """Take what is offered again."""
        with self._changed:
            self._shut = self.muted = False
            for feed, (count, *ends) in self._passing.items():
                first, last, from_us, to_us = ends
                self._note(Drop(feed, "trades", count, first, last, from_us, to_us))
            self._passing.clear()

    def mute(self) -> None:
        """Let pass by what is offered from now on, since nobody listens; it is no drop of ours.

        Whoever listens later hears that it is missing, as of drops; so is what waits.
        """
        with self._changed:
            self.muted = True
            while self._waiting:
                one = self._waiting.popleft()
                if one.frames:
                    self._pass_by(one.given.feed, one.numbers, one.received_us)
            self._forget()

    def wake(self) -> None:
        """End a wait of take()."""
        with self._changed:
            self._changed.notify_all()

    def give_up(self, taken: list[Waiting], drops: list[Drop]) -> None:
        """Count as dropped what was taken and could not be sent; what was not said yet is kept."""
        with self._changed:
            for each in drops:
                self._note(each)
            for one in taken:
                self._drop_all(one)

    def _pass_by(self, feed: str, numbers: Sequence[int], received_us: Sequence[int]) -> None:
        count, from_us, to_us = len(numbers), received_us[0], received_us[-1]
        self.unheard += count
        known = self._passing.get(feed)
        if known is None:
            self._passing[feed] = [count, numbers[0], numbers[-1], from_us, to_us]
            return
        known[0] += count
        known[2] = numbers[-1]
        known[3], known[4] = min(known[3], from_us), max(known[4], to_us)

    def _fits(self, one: Waiting) -> bool:
        return (
            self.frames + len(one.frames) <= self._frames_max
            and self.bytes + one.bytes <= self._bytes_max
        )

    def _watch(self) -> None:
        full = max(self.frames / self._frames_max, self.bytes / self._bytes_max)
        self.shedding = full >= SHED_FROM or (self.shedding and full >= SHED_UNTIL)

    def _forget(self) -> None:
        """Note that nothing waits."""
        self._unseen.clear()
        self._with_quotes.clear()
        self.frames = self.bytes = 0

    def _look(self, frames: int) -> None:
        """Look at so many frames that wait, by whole slices, the oldest first."""
        while self._unseen and frames > 0:
            one = self._unseen.popleft()
            frames -= len(one.frames)
            if any(self._quotes(one)):
                self._with_quotes.append(one)

    def _quotes(self, one: Waiting) -> list[bool]:
        """Tell which frames hold quotes alone; they are looked at once."""
        if one.quotes is None:
            one.quotes = are_quotes(one.given.feed, one.frames)
            self.looked += len(one.frames)
        return one.quotes

    def _shed(self, one: Waiting) -> None:
        if one.may_shed:
            self._drop(one, "quotes", self._quotes(one))

    def _shed_waiting(self, arriving: Waiting) -> None:
        """Have what waits lose its quotes, the oldest first, until what arrives fits."""
        while not self._fits(arriving):
            if not self._with_quotes:
                if not self._unseen:
                    return
                self._look(1)
                continue
            one = self._with_quotes.popleft()
            frames, size = len(one.frames), one.bytes
            self._shed(one)
            self.frames -= frames - len(one.frames)
            self.bytes -= size - one.bytes

    def _drop_all(self, one: Waiting) -> None:
        self._shed(one)
        self._drop(one, "trades", [True] * len(one.frames))

    def _drop(self, one: Waiting, kind: Kind, gone: list[bool]) -> None:
        at = [i for i, is_gone in enumerate(gone) if is_gone]
        if not at:
            return
        times = [one.received_us[i] for i in at]
        numbers = one.numbers[at[0]], one.numbers[at[-1]]
        self.dropped[kind] += len(at)
        self._note(Drop(one.given.feed, kind, len(at), *numbers, min(times), max(times)))
        one.numbers, one.received_us = _left(one.numbers, gone), _left(one.received_us, gone)
        one.frames = _left(one.frames, gone)
        one.quotes = _left(one.quotes, gone) if one.quotes is not None else None
        one.bytes = sum(map(len, one.frames))

    def _note(self, drop: Drop) -> None:
        key = (drop.feed, drop.kind)
        known = self._drops.get(key)
        self._drops[key] = known.joined(drop) if known else drop


def are_quotes(feed: str, frames: list[bytes]) -> list[bool]:
    """Tell of each frame whether it is known to hold quotes alone; by its words, undecoded."""
    words = MORE_THAN_QUOTES.get(feed, (b"",))
    return [not any(word in frame for word in words) for frame in frames]


def _left(values: list[Any], gone: list[bool]) -> list[Any]:
    return [value for value, is_gone in zip(values, gone, strict=True) if not is_gone]
