"""Bad events and bad frames, as a broken or hostile venue would send them."""

from __future__ import annotations

from collections.abc import Callable

EVENT_BYTES_HUGE = (1 << 20) + 1
"""Size of the oversized event: one byte over the 1 MiB that a codec accepts."""

FIELDS_MANY = 10_000
"""Fields of the event with far too many."""


def _trade(**changes: str | None) -> bytes:
    """Build a trade from JSON texts; None leaves the field out."""
    parts = {
        "ev": '"XT"',
        "pair": '"BTC-USD"',
        "p": "33021.9",
        "t": "0",
        "s": "0.5",
        "c": "[2]",
        "i": "1",
        "x": "1",
        "r": "0",
    } | changes
    inside = ",".join(f'"{name}":{text}' for name, text in parts.items() if text is not None)
    return f"{{{inside}}}".encode()


Event = Callable[[int], bytes]

_EVENTS: dict[str, Event] = {
    "unknown-ev": lambda ms: b'{"ev":"XZ","pair":"BTC-USD","t":%d}' % ms,
    "no-ev": lambda ms: b'{"pair":"BTC-USD","p":1.5,"t":%d}' % ms,
    "not-an-object": lambda _: b"[1,2,3]",
    "price-missing": lambda ms: _trade(p=None, t=f"{ms}"),
    "price-null": lambda ms: _trade(p="null", t=f"{ms}"),
    "price-negative": lambda ms: _trade(p="-33021.9", t=f"{ms}"),
    "price-nan": lambda ms: _trade(p="NaN", t=f"{ms}"),
    "price-nan-text": lambda ms: _trade(p='"NaN"', t=f"{ms}"),
    "price-1e400": lambda ms: _trade(p="1e400", t=f"{ms}"),
    "size-zero": lambda ms: _trade(s="0", t=f"{ms}"),
    "time-seconds": lambda ms: _trade(t=f"{ms // 1000}"),
    "time-micros": lambda ms: _trade(t=f"{ms * 1000}"),
    "time-future": lambda ms: _trade(t=f"{ms + 86_400_000}"),
    "ticker-sql": lambda ms: _trade(
        pair='"BTC-USD\'; DROP TABLE market.crypto_trades; --"', t=f"{ms}"
    ),
    "ticker-path": lambda ms: _trade(pair='"../../etc/passwd"', t=f"{ms}"),
    "fields-many": lambda ms: _trade(
        t=f"{ms}", **{f"field{number}": "1" for number in range(FIELDS_MANY)}
    ),
    "event-huge": lambda ms: _trade(t=f"{ms}", note='"' + "x" * EVENT_BYTES_HUGE + '"'),
}
"""Bad events inside a frame: its other events are good. NaN and 1e400 are no JSON, to be strict."""

_FRAMES: dict[str, Event] = {
    "not-json": lambda ms: b'[{"ev":"XT","pair":"BTC-USD","t":%d,' % ms,
    "not-utf-8": lambda ms: b'[{"ev":"XT","pair":"BTC\xff\xfe-USD","t":%d}]' % ms,
    "empty": lambda _: b"",
    "not-an-array": lambda ms: _trade(t=f"{ms}"),
}
"""Bad frames, sent whole and alone: nothing good could be read out of them."""

POISON_KINDS: tuple[str, ...] = (*_EVENTS, *_FRAMES)


def is_frame(kind: str) -> bool:
    """Say whether this kind spoils a whole frame."""
    return kind in _FRAMES


def poison_of(kind: str, ms: int) -> bytes:
    """Return the bad event, or the bad frame, of this kind at this time (milliseconds)."""
    return (_FRAMES.get(kind) or _EVENTS[kind])(ms)


def poisoned(frame: bytes, bad: bytes, place: float) -> bytes:
    """Return frame with a bad event added first (place < 0.5) or last; nothing is replaced."""
    if place < 0.5:
        return b"[" + bad + b"," + frame[1:]
    return frame[:-1] + b"," + bad + b"]"
