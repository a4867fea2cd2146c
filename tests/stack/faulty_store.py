"""A proxy before an S3 store that errs on purpose, by a seed: 5xx, slow, cut or no answers."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from urllib.parse import urlsplit

from tests.in_thread import InThread

HEAD_BYTES_MAX = 1 << 16
BODY_BYTES_MAX = 1 << 28
SLOW_S_MAX = 1.5
BUSY = tuple(
    b"HTTP/1.1 %s\r\nContent-Length: 0\r\nx-amz-request-id: proxy\r\n\r\n" % status
    for status in (b"500 Internal Error", b"502 Bad Gateway", b"503 Slow Down")
)
FAULTS = ("busy", "slow", "cut", "dropped", "unheard")
REFUSALS = ("busy", "dropped")
"""busy: 500, 502 or 503; slow; cut: half an answer; dropped: never passed on; unheard: done, and no
answer."""


class FaultyStore(InThread):
    """The proxy in a thread, on a free port of loopback, from `with` to its end.

    A share of requests errs while `erring` is set, and every one while `away` is.
    """

    start_s_max = 60

    def __init__(self, endpoint: str, *, seed: int, share: float) -> None:
        super().__init__()
        place = urlsplit(endpoint)
        self._upstream = (place.hostname or "", place.port or 80)
        self._random = random.Random(seed)
        self._share = share
        self.erring = threading.Event()
        self.away = threading.Event()
        self.done: Counter[str] = Counter()
        self.endpoint = ""

    async def serve(self, stop: asyncio.Event) -> None:
        """Pass requests on, or err."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
        self.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # the client has left, as clients do
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False ends the connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        if field(head, b"expect"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = without(head, b"expect")
        body = await body_of(reader, head)
        fault = self._fault()
        self.done[fault or "answered"] += 1
        if fault == "busy":
            writer.write(self._random.choice(BUSY))
            return True
        if fault == "dropped":
            return False
        if fault == "slow":
            await asyncio.sleep(SLOW_S_MAX * self._random.random())
        answer = await self._pass_on(head, body)
        if fault == "unheard":
            return False
        if fault == "cut":
            writer.write(answer[: len(answer) // 2])
            await writer.drain()
            return False
        writer.write(answer)
        await writer.drain()
        return True

    def _fault(self) -> str:
        if self.away.is_set():
            return self._random.choice(REFUSALS)
        errs = self.erring.is_set() and self._random.random() < self._share
        return self._random.choice(FAULTS) if errs else ""

    async def _pass_on(self, head: bytes, body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._upstream, limit=HEAD_BYTES_MAX)
        try:
            writer.write(head + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"HEAD ") or answer.split(b" ", 2)[1] in (b"204", b"304"):
                return answer
            return answer + await body_of(reader, answer)
        finally:
            writer.close()


def field(head: bytes, name: bytes) -> bytes:
    """Return a header's value, in lower case; empty where there is none."""
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip().lower()
    return b""


def without(head: bytes, name: bytes) -> bytes:
    """Return a head without a header."""
    lines = head.split(b"\r\n")
    return b"\r\n".join(line for line in lines if line.partition(b":")[0].lower() != name)


async def body_of(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """Read the body that a head announces, as it comes."""
    if field(head, b"transfer-encoding") != b"chunked":
        size = int(field(head, b"content-length") or 0)
        assert size <= BODY_BYTES_MAX
        return await reader.readexactly(size)
    parts = []
    while True:
        line = await reader.readuntil(b"\r\n")
        chunk = await reader.readexactly(int(line.split(b";")[0], 16) + 2)
        parts += [line, chunk]
        if len(chunk) == 2:
            return b"".join(parts)
