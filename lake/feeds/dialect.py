"""How to talk to a venue's socket until data comes: small state machines, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import orjson

State = Literal["pending", "ready", "refused", "busy"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a frame means for the conversation.

    state: pending (go on), ready (all is confirmed), refused (for good: do what remedy says), busy
    (try again later). send: messages to send now. data: the frame holds data, which may come before
    all is confirmed.
    """

    state: State
    send: tuple[str, ...] = ()
    message: str = ""
    remedy: str = ""
    data: bool = False


class Dialect(Protocol):
    """One conversation with one venue; made anew for every connection."""

    silence_s_max: float
    """A venue that says nothing for so long is gone, whatever the socket thinks."""

    def opening(self) -> list[str]:
        """Return the messages to send at once."""

    def on_frame(self, frame: bytes) -> Reply:
        """Take a frame, until a reply is ready, refused or busy."""


PENDING = Reply("pending")
READY = Reply("ready")
DATA = Reply("pending", data=True)


def _json(frame: bytes) -> Any:
    try:
        return orjson.loads(frame)
    except orjson.JSONDecodeError:
        return None


class MassiveDialect:
    """Authenticate, subscribe, and wait until every topic is confirmed.

    The venue has no heartbeat of its own: a quiet pair and a stalled feed look alike.
    """

    def __init__(self, pairs: Sequence[str], key: str, silence_s_max: float = 10.0) -> None:
        self.silence_s_max = silence_s_max
        names = list(pairs) or ["*"]
        self._topics = [f"{event}.{name}" for name in names for event in ("XT", "XQ", "XA")]
        self._key = key
        self._waiting = len(self._topics)

    def opening(self) -> list[str]:
        """Return nothing: the venue speaks first."""
        return []

    def on_frame(self, frame: bytes) -> Reply:
        """Answer status events; data may come before the last confirmation."""
        events = _json(frame)
        reply = DATA
        for event in events if isinstance(events, list) else []:
            if isinstance(event, dict) and event.get("ev") == "status":
                reply = self._status(str(event.get("status")), str(event.get("message")))
                if reply.state in ("refused", "busy"):
                    return reply
        return reply

    def _status(self, status: str, message: str) -> Reply:
        if status == "connected":
            return Reply("pending", (_action("auth", self._key),))
        if status == "auth_success":
            return Reply("pending", (_action("subscribe", ",".join(self._topics)),))
        if status in ("auth_failed", "auth_timeout"):
            return Reply("refused", (), message, "check the key (TICKLAKE_MASSIVE_API_KEY)")
        if status == "max_connections":
            return Reply("busy", (), message)
        if status == "error":
            return Reply("refused", (), message, "check --tickers")
        if status == "success":
            self._waiting -= 1
        return READY if self._waiting <= 0 else PENDING


def _action(action: str, params: str) -> str:
    return orjson.dumps({"action": action, "params": params}).decode()


class BinanceDialect:
    """The streams stand in the address; a symbol that does not exist is silence, no error."""

    silence_s_max = 60.0

    def opening(self) -> list[str]:
        """Ask what the address has subscribed to: the answer comes before a quiet pair's data."""
        return ['{"method":"LIST_SUBSCRIPTIONS","id":1}']

    def on_frame(self, frame: bytes) -> Reply:
        """The first frame is the answer, data, or an error with a code."""
        found = _json(frame)
        if isinstance(found, dict) and "error" in found:
            return Reply("refused", (), str(found["error"]), "check --tickers")
        answer = isinstance(found, dict) and "result" in found
        return Reply("ready", data=not answer)


class CoinbaseDialect:
    """Subscribe to trades, best quotes and heartbeats (one a second) within five seconds."""

    silence_s_max = 4.0

    def __init__(self, products: Sequence[str]) -> None:
        self._products = list(products)

    def opening(self) -> list[str]:
        """Return the subscription."""
        channels = ["matches", "ticker", "heartbeat"]
        order = {"type": "subscribe", "product_ids": self._products, "channels": channels}
        return [orjson.dumps(order).decode()]

    def on_frame(self, frame: bytes) -> Reply:
        """Wait for the list of subscriptions."""
        found = _json(frame)
        kind = found.get("type") if isinstance(found, dict) else None
        if kind == "error":
            text = f"{found.get('message')}: {found.get('reason', '')}"
            return Reply("refused", (), text, "check --tickers")
        return READY if kind == "subscriptions" else DATA


class KrakenDialect:
    """Subscribe to trades and best quotes (API v2); heartbeats come each second."""

    silence_s_max = 4.0

    def __init__(self, symbols: Sequence[str]) -> None:
        self._symbols = list(symbols)
        self._waiting = 2 * len(self._symbols)

    def opening(self) -> list[str]:
        """Return one subscription per channel."""
        return [
            orjson.dumps(
                {
                    "method": "subscribe",
                    "params": {"channel": channel, "symbol": self._symbols, "snapshot": False},
                }
            ).decode()
            for channel in ("trade", "ticker")
        ]

    def on_frame(self, frame: bytes) -> Reply:
        """Wait for one confirmation per channel and symbol."""
        found = _json(frame)
        if not isinstance(found, dict) or found.get("method") != "subscribe":
            return DATA
        if not found.get("success"):
            return Reply("refused", (), str(found.get("error")), "check --tickers")
        self._waiting -= 1
        return READY if self._waiting <= 0 else PENDING
