"""One reader, many listeners: each client hears the newest of what it asked for, at its own pace.

What comes within a pace becomes one batch; clients that asked for the same tickers share its bytes.
A client that is slower hears less often and of the newest only: its batches become one, so what
waits for it never holds a thing twice, and is bounded by what there is to hear of. One that takes
nothing for SLOW_S_MAX is cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from lake.clock import Clock
from serving.service.board import Item
from serving.service.counts import Counts

PACE_S = 0.025
"""Least time between two batches: half of it is what a client waits for, on the average."""

BATCHES_MAX = 4
"""Batches that wait for a client before they are made one."""

ITEMS_MAX = 30_000
"""Things that may wait for a client; with more it is cut."""

TEXT = 0x81
SHORT_MAX = 125
MIDDLE_MAX = 65_535
"""The first byte of a whole text frame, and lengths by RFC 6455, 5.2."""

SLOW_S_MAX = 5.0
SLOW_CODE = 4008
LEAVING_CODE = 1012

Tickers = frozenset[str] | None
"""None: all of them."""


class Batch:
    """Things to hear of, each once; its bytes are made when they are first asked for."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.items = {(item.kind, item.key): item for item in items}
        self._message: bytes | None = None
        self._frame: bytes | None = None

    def merge(self, newer: Batch) -> Batch:
        """Return both as one; what is newer takes the place of what is older."""
        merged = Batch(())
        merged.items = {**self.items, **newer.items}
        for kind, key in newer.items:  # a bar is there or gone, not both
            other = {"bars": "gone", "gone": "bars"}.get(kind)
            if other:
                merged.items.pop((other, key), None)
        return merged

    def message(self) -> bytes:
        """Return {"type": "update", KIND: [...], ...}; a topic is no list but itself."""
        if self._message is None:
            kinds: dict[str, list[bytes]] = {}
            topics: list[bytes] = []
            for item in self.items.values():
                if item.kind == "topic":
                    topics.append(b'"' + item.key.encode() + b'":' + item.raw)
                else:
                    kinds.setdefault(item.kind, []).append(item.raw)
            parts = [b'"%s":[%s]' % (kind.encode(), b",".join(r)) for kind, r in kinds.items()]
            self._message = b'{"type":"update",' + b",".join([*parts, *topics]) + b"}"
        return self._message

    def frame(self) -> bytes:
        """Return its message as the one WebSocket frame that all its listeners get."""
        if self._frame is None:
            message = self.message()
            size = len(message)
            if size <= SHORT_MAX:
                head = bytes((TEXT, size))
            elif size <= MIDDLE_MAX:
                head = bytes((TEXT, SHORT_MAX + 1)) + size.to_bytes(2, "big")
            else:
                head = bytes((TEXT, SHORT_MAX + 2)) + size.to_bytes(8, "big")
            self._frame = head + message
        return self._frame


class Client:
    """One listener; its writer takes next_batch() whenever `ready` is set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._batches: list[Batch] = []
        self.ready = asyncio.Event()
        self.tickers: Tickers = frozenset()
        self.topics: frozenset[str] = frozenset()
        self.sending_since_us: int | None = None
        self.too_slow = asyncio.Event()

    def offer(self, batch: Batch) -> None:
        """Let it hear of this, soon."""
        self._batches.append(batch)
        if len(self._batches) > BATCHES_MAX:
            merged = self._batches[0]
            for each in self._batches[1:]:
                merged = merged.merge(each)
            self._batches = [merged]
            if len(merged.items) > ITEMS_MAX:
                self.too_slow.set()
        self.ready.set()

    def next_batch(self) -> Batch | None:
        """Return what waits as one batch; None for nothing."""
        self.ready.clear()
        if not self._batches:
            return None
        merged, *more = self._batches
        for each in more:
            merged = merged.merge(each)
        self._batches = []
        self.sending_since_us = self._clock.monotonic_us()
        return merged

    def sent(self) -> None:
        """Note that the last message has gone out."""
        self.sending_since_us = None

    @property
    def waiting(self) -> int:
        """Return how many things wait."""
        return sum(len(each.items) for each in self._batches)


class Hub:
    """Holds the clients of a process; used in its event loop alone."""

    def __init__(self, clock: Clock, counts: Counts) -> None:
        self._clock = clock
        self._counts = counts
        self._clients: dict[Client, None] = {}
        self._groups: dict[Tickers, dict[Client, None]] = {}
        self._by_ticker: dict[str, set[Tickers]] = {}
        self._dirty: dict[tuple[str, str], Item] = {}
        self._topics: dict[str, Item] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def clients(self) -> Sequence[Client]:
        """Return who listens now."""
        return list(self._clients)

    def subscriptions(self, instruments: int) -> int:
        """Return how many instruments all clients hear of, each once a client; any thread may ask.

        instruments: how many there are, for who hears of all. A ticker counts once, on whatever
        venues.
        """
        groups = list(self._groups.items())
        return sum(len(g) * (instruments if t is None else len(t)) for t, g in groups)

    def join(self, client: Client) -> None:
        """Let a client in; it hears of nothing until it says of what."""
        self._clients[client] = None
        self._counts.clients.set(len(self._clients))
        self._regroup(client, client.tickers)

    def leave(self, client: Client) -> None:
        """Let it go."""
        self._clients.pop(client, None)
        self._ungroup(client)
        self._counts.clients.set(len(self._clients))

    def subscribe(self, client: Client, tickers: Tickers, topics: frozenset[str]) -> None:
        """Let a client hear of these tickers and topics, in the place of what it heard before."""
        self._ungroup(client)
        client.topics = topics
        self._regroup(client, tickers)
        known = [self._topics[name] for name in topics if name in self._topics]
        if known:
            client.offer(Batch(known))

    def put(self, items: Iterable[Item]) -> None:
        """Say what changed."""
        for item in items:
            self._dirty[item.kind, item.key] = item
        if self._dirty:
            self._wake.set()

    def put_topic(self, name: str, raw: bytes) -> None:
        """Say what a topic is now; nothing is told where that is what it was."""
        known = self._topics.get(name)
        if known is None or known.raw != raw:
            self._topics[name] = Item("topic", name, "", raw)
            self.put([self._topics[name]])

    async def run(self) -> None:
        """Hand batches out, for as long as it is let."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self.hand_out()
            await asyncio.sleep(PACE_S)

    def hand_out(self) -> None:
        """Give each client its part of what changed."""
        dirty, self._dirty = self._dirty, {}
        parts: dict[Tickers, list[Item]] = {}
        topics: list[Item] = []
        whole = None in self._groups
        for item in dirty.values():
            if item.kind == "topic":
                topics.append(item)
                continue
            if whole:
                parts.setdefault(None, []).append(item)
            for group in self._by_ticker.get(item.ticker, ()):
                parts.setdefault(group, []).append(item)
        for group, items in parts.items():
            batch = Batch(items)
            for client in self._groups[group]:
                client.offer(batch)
        if topics:
            self._tell_topics(topics)

    def cut_slow(self) -> None:
        """Mark clients that have taken nothing for too long."""
        since_us = self._clock.monotonic_us() - int(SLOW_S_MAX * 1e6)
        for client in self._clients:
            if client.sending_since_us is not None and client.sending_since_us < since_us:
                client.too_slow.set()

    def _tell_topics(self, topics: Sequence[Item]) -> None:
        batches: dict[frozenset[str], Batch] = {}
        for client in self._clients:
            wanted = frozenset(item.key for item in topics if item.key in client.topics)
            if not wanted:
                continue
            if wanted not in batches:
                batches[wanted] = Batch(item for item in topics if item.key in wanted)
            client.offer(batches[wanted])

    def _regroup(self, client: Client, tickers: Tickers) -> None:
        client.tickers = tickers
        group = self._groups.setdefault(tickers, {})
        group[client] = None
        for ticker in tickers or ():
            self._by_ticker.setdefault(ticker, set()).add(tickers)

    def _ungroup(self, client: Client) -> None:
        group = self._groups.get(client.tickers, {})
        group.pop(client, None)
        if group or client.tickers not in self._groups:
            return
        del self._groups[client.tickers]
        for ticker in client.tickers or ():
            left = self._by_ticker.get(ticker, set())
            left.discard(client.tickers)
            if not left:
                self._by_ticker.pop(ticker, None)
