"""Render blocks as Massive's JSON frames, without a loop over the events.

Every event is a fixed-width row of bytes with NULs where a shorter number leaves room; one pass
drops the NULs of a whole block and one split cuts it into frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from infra.exchange.digits import Digits
from infra.exchange.order_flow import VENUES, Block
from infra.exchange.pairs import PRICE_UNITS, SIZE_UNITS

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Part = bytes | tuple[str, int]

ID_GROUPS = 4
"""Groups of four digits in a trade id."""


def _groups(name: str, count: int, first: int = 0) -> tuple[Part, ...]:
    return tuple((f"{name}{place}", 4) for place in range(first + count - 1, first - 1, -1))


def _price(key: str) -> tuple[Part, ...]:
    return (f'"{key}":'.encode(), *_groups(key, 2, 1), b".", *_groups(key, 1))


def _size(key: str) -> tuple[Part, ...]:
    return (f'"{key}":'.encode(), *_groups(key, 2, 2), b".", *_groups(key, 2))


def _time(key: str) -> tuple[Part, ...]:
    return (f'"{key}":1'.encode(), *_groups(key, 3))


def _trade_parts(name_bytes: int) -> tuple[Part, ...]:
    head: tuple[Part, ...] = (b'{"ev":"XT","pair":"', ("pair", name_bytes), b'",')
    middle: tuple[Part, ...] = (*_price("p"), b",", *_time("t"), b",", *_size("s"))
    ids: tuple[Part, ...] = (b',"c":[', ("c", 1), b'],"i":', *_groups("i", ID_GROUPS))
    return (*head, *middle, *ids, b',"x":', ("x", 2), b",", *_time("r"), b"}")


def _quote_parts(name_bytes: int) -> tuple[Part, ...]:
    head: tuple[Part, ...] = (b'{"ev":"XQ","pair":"', ("pair", name_bytes), b'",')
    bid: tuple[Part, ...] = (*_price("bp"), b",", *_size("bs"), b",")
    ask: tuple[Part, ...] = (*_price("ap"), b",", *_size("as"), b",")
    return (*head, *bid, *ask, *_time("t"), b',"x":', ("x", 2), b",", *_time("r"), b"}")


@dataclass(frozen=True, slots=True)
class _Layout:
    """A row's constant bytes and where its fields lie.

    The first byte of a row is the frame's "[" or the "," after the event before; the last two are
    the frame's "]" and a newline, or nothing.
    """

    row: npt.NDArray[np.uint8]
    kind: np.dtype[np.void]


def _layouts(*events: tuple[Part, ...]) -> tuple[_Layout, ...]:
    """Lay out rows of one width for several kinds of event."""
    width = 3 + max(sum(_width(part) for part in parts) for parts in events)
    layouts = []
    for parts in events:
        row, names, formats, offsets = bytearray(b"["), [], [], []
        for part in parts:
            if isinstance(part, tuple):
                names.append(part[0])
                formats.append("<u4" if part[1] == 4 else f"S{part[1]}")
                offsets.append(len(row))
            row.extend(part if isinstance(part, bytes) else bytes(part[1]))
        row.extend(bytes(width - len(row)))
        kind = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": width})
        layouts.append(_Layout(np.frombuffer(bytes(row), np.uint8), kind))
    return tuple(layouts)


def _width(part: Part) -> int:
    return len(part) if isinstance(part, bytes) else part[1]


class _Rows:
    """Rows of one layout, as bytes and as fields of the same memory."""

    def __init__(self, layout: _Layout, count: int) -> None:
        self.text = np.repeat(layout.row[None, :], count, axis=0)
        self._fields = self.text.reshape(-1).view(layout.kind)

    def put(self, name: str, values: npt.NDArray[np.generic]) -> None:
        self._fields[name] = values

    def put_groups(self, name: str, texts: list[npt.NDArray[np.uint32]], first: int = 0) -> None:
        """Write groups of four digits, most significant first, down to group `first`."""
        for place, text in enumerate(reversed(texts), first):
            self._fields[f"{name}{place}"] = text


class FrameRenderer:
    """Turn the events of blocks into rows, and rows into frames."""

    def __init__(self, names: tuple[str, ...], events_per_frame: int) -> None:
        self._digits = Digits()
        self._names = np.array([name.encode() for name in names])
        self._venues = np.array([str(venue).encode() for venue in VENUES])
        self._events_per_frame = events_per_frame
        name_bytes = self._names.dtype.itemsize
        self._trade, self._quote = _layouts(_trade_parts(name_bytes), _quote_parts(name_bytes))

    def rows(self, block: Block) -> npt.NDArray[np.uint8]:
        """Return one row of bytes per event of block."""
        rows = np.empty((len(block), len(self._trade.row)), np.uint8)
        trades, quotes = np.flatnonzero(block.trade), np.flatnonzero(~block.trade)
        rows[trades] = self._trade_rows(block, trades)
        rows[quotes] = self._quote_rows(block, quotes)
        return rows

    def _trade_rows(self, block: Block, at: Ints) -> npt.NDArray[np.uint8]:
        rows = _Rows(self._trade, len(at))
        self._put_all(rows, block, at)
        self._put_price(rows, "p", block.price.take(at))
        self._put_size(rows, "s", block.size.take(at))
        rows.put("c", np.array([b"0", b"1", b"2"]).take(block.side.take(at)))
        rows.put_groups("i", self._digits.integer(block.trade_id.take(at), ID_GROUPS))
        return rows.text

    def _quote_rows(self, block: Block, at: Ints) -> npt.NDArray[np.uint8]:
        rows = _Rows(self._quote, len(at))
        self._put_all(rows, block, at)
        self._put_price(rows, "bp", block.price.take(at))
        self._put_size(rows, "bs", block.size.take(at))
        self._put_price(rows, "ap", block.ask_price.take(at))
        self._put_size(rows, "as", block.ask_size.take(at))
        return rows.text

    def _put_all(self, rows: _Rows, block: Block, at: Ints) -> None:
        rows.put("pair", self._names.take(block.pair.take(at)))
        rows.put("x", self._venues.take(block.venue.take(at)))
        rows.put_groups("t", self._digits.millis(block.time_ms.take(at)))
        rows.put_groups("r", self._digits.millis(block.received_ms.take(at)))

    def _put_price(self, rows: _Rows, name: str, price: Ints) -> None:
        whole = price // PRICE_UNITS
        rows.put_groups(name, self._digits.integer(whole, 2), 1)
        rows.put_groups(name, [self._digits.fraction4(price - whole * PRICE_UNITS)])

    def _put_size(self, rows: _Rows, name: str, size: Ints) -> None:
        whole = size // SIZE_UNITS
        rows.put_groups(name, self._digits.integer(whole, 2), 2)
        rows.put_groups(name, self._digits.fraction8(size - whole * SIZE_UNITS))

    def frames(self, rows: npt.NDArray[np.uint8], tick: Ints) -> tuple[list[bytes], Ints]:
        """Return frames of rows with each frame's tick; rows must be in order of tick.

        A frame holds at most events_per_frame events, all of one tick. Overwrites the first and the
        last two bytes of rows.
        """
        if not len(rows):
            return [], np.zeros(0, np.int64)
        starts = np.flatnonzero(np.diff(tick, prepend=tick[0] - 1))
        counts = np.diff(starts, append=len(tick))
        place = np.arange(len(tick)) - np.repeat(starts, counts)
        first = place % self._events_per_frame == 0
        last = np.append(first[1:], True)
        rows[:, 0] = np.where(first, ord("["), ord(","))
        rows[:, -2] = np.where(last, ord("]"), 0)
        rows[:, -1] = np.where(last, ord("\n"), 0)
        text = rows[rows != 0].tobytes()
        return text.split(b"\n")[:-1], tick[first]
