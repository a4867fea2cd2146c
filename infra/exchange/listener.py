"""One client of the simulated exchange: its conversation, and what it is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from random import Random

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from infra.exchange.options import ExchangeOptions
from infra.exchange.subscription import Subscription
from lake.clock import Clock

POLICY_VIOLATION = 1008


class Listener:
    """A connection; is_live once it is authenticated and has subscribed to something."""

    def __init__(
        self,
        socket: ServerConnection,
        names: Sequence[str],
        options: ExchangeOptions,
        clock: Clock,
        chance: Random,
    ) -> None:
        self._socket = socket
        self._options = options
        self.subscription = Subscription(names)
        self.authenticated = False
        self.cut_at_us = 0
        if options.cut_every_s:
            after_s = chance.expovariate(1 / options.cut_every_s)
            self.cut_at_us = clock.monotonic_us() + int(after_s * 1e6)

    @property
    def is_live(self) -> bool:
        """Tell whether events go to this client."""
        return self.authenticated and self.subscription.wants_any

    async def introduce(self, others: Callable[[], int]) -> bool:
        """Greet and authenticate; return whether the client may stay.

        others: how many are authenticated now.
        """
        if self._options.slow_start_s:
            await asyncio.sleep(self._options.slow_start_s)
        await self._status("connected", "Connected Successfully")
        try:
            message = await asyncio.wait_for(self._socket.recv(), self._options.auth_timeout_s)
        except TimeoutError:
            await self._status("auth_timeout", "authentication timed out")
            return False
        action, key = _parsed(message)
        if action != "auth" or not key or self._options.key not in ("", key):
            await self._status("auth_failed", "authentication failed")
            return False
        await self._status("auth_success", "authenticated")
        if self._options.max_connections and others() >= self._options.max_connections:
            await self._status("max_connections", "Maximum number of connections exceeded.")
            await self._socket.close(POLICY_VIOLATION, "max_connections")
            return False
        self.authenticated = True
        return True

    async def converse(self) -> None:
        """Take subscriptions until the client leaves."""
        try:
            async for message in self._socket:
                action, params = _parsed(message)
                if action in ("subscribe", "unsubscribe"):
                    await self._change(params.split(","), action == "subscribe")
                elif action != "auth":
                    await self._status("error", f"unknown action: {action[:40]}")
        except ConnectionClosed:
            return

    async def _change(self, topics: Sequence[str], on: bool) -> None:
        """Change all of a message's topics at once, then answer for each."""
        wanted = [topic.strip() for topic in topics if topic.strip()]
        faults = [self.subscription.change(topic, on) for topic in wanted]
        for topic, fault in zip(wanted, faults, strict=True):
            if fault:
                await self._status("error", fault)
            else:
                await self._status("success", f"{'' if on else 'un'}subscribed to: {topic}")

    def send(self, frames: Iterable[bytes]) -> None:
        """Send frames without waiting; cut a client off that does not read."""
        protocol = self._socket.protocol
        if protocol.state is not State.OPEN:
            return
        for frame in frames:
            protocol.send_text(frame)
        # One write for the tick: a system call for each frame would cost more than rendering it.
        self._socket.transport.write(b"".join(protocol.data_to_send()))
        if self._socket.transport.get_write_buffer_size() > self._options.slow_reader_bytes:
            self.cut()

    def cut(self) -> None:
        """Drop the connection without a word."""
        self._socket.transport.abort()

    async def _status(self, status: str, message: str) -> None:
        await self._socket.send(
            json.dumps([{"ev": "status", "status": status, "message": message}])
        )


def _parsed(message: str | bytes) -> tuple[str, str]:
    """Return (action, params) of a client's message; ("", "") for what is none."""
    try:
        found = json.loads(message)
        return str(found["action"]), str(found["params"])
    except (ValueError, TypeError, KeyError):
        return "", ""
