"""Spoil what is sent: frames sent twice, bad events, bad frames; always beside the real ones."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from infra.exchange.options import ExchangeOptions
from infra.exchange.poison import is_frame, poison_of, poisoned


class Spoiler:
    """Adds faults to the frames of a tick, by the options' chances per frame."""

    def __init__(self, options: ExchangeOptions, chance: Random) -> None:
        self._options = options
        self._chance = chance

    def spoiled(
        self, frames: list[bytes], now_ms: int, resent: Callable[[], list[bytes]]
    ) -> list[bytes]:
        """Return the frames with duplicates and poison among them; none is missing."""
        options = self._options
        if not (options.duplicates or options.poison):
            return frames
        out: list[bytes] = []
        for frame in frames:
            out += self._poisoned(frame, now_ms)
            if options.duplicates and self._chance.random() < options.duplicates:
                out += resent()
        return out

    def _poisoned(self, frame: bytes, now_ms: int) -> list[bytes]:
        if not self._options.poison or self._chance.random() >= self._options.poison:
            return [frame]
        kind = self._chance.choice(self._options.poison_kinds)
        bad = poison_of(kind, now_ms)
        return [frame, bad] if is_frame(kind) else [poisoned(frame, bad, self._chance.random())]
