"""The REST histories of four venues on a local server: their shapes, paging, limits and errors.

It holds trades and minute bars, given by a test, and speaks of them as each venue does. `faults`
are answered first, one a request, before anything else is said.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

KEY = "only-for-tests"


@dataclass(frozen=True)
class Trade:
    """A trade as the market made it: id, UTC microseconds, price, size, aggressor's side."""

    number: int
    at_us: int
    price: str
    size: str
    side: str = "buy"


@dataclass(frozen=True)
class Fault:
    """What a venue answers instead: status, headers, text."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    text: str = "{}"


@dataclass
class VenueApi:
    """The server; asked: every path and question that came; page_max: rows a page.

    without_id: so many of the first trades have none at Kraken.
    """

    trades: Sequence[Trade] = ()
    page_max: int = 1_000
    without_id: int = 0
    faults: list[Fault] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def __enter__(self) -> Self:
        api = self

        class Handler(BaseHTTPRequestHandler):
            wbufsize = 1 << 16
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                api.asked.append(self.path)
                fault = api.faults.pop(0) if api.faults else api.answer(self.path, self.headers)
                body = fault.text.encode()
                self.send_response(fault.status)
                for name, value in {**fault.headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str, headers: Any) -> Fault:
        """Answer as the venue whose path it is."""
        parts = urlsplit(path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        steps = parts.path.strip("/").split("/")
        if steps[0] == "products":
            return self._coinbase(steps, query)
        if steps[:2] == ["0", "public"]:
            return self._kraken(query)
        if steps[0] in ("api", "fapi", "dapi"):
            return self._binance(steps[-1], query)
        if headers.get("Authorization") != f"Bearer {KEY}":
            return Fault(401, text='{"status":"ERROR","error":"Unknown API Key"}')
        return self._massive(parts.path, query)

    def _coinbase(self, steps: list[str], query: dict[str, str]) -> Fault:
        if steps[1] not in ("BTC-USD", "ETH-USD"):
            return Fault(404, text='{"message":"NotFound"}')
        if steps[2] == "candles":
            first, last = int(query["start"]), int(query["end"])
            return _json([list(bar) for bar in reversed(self.bars(first * 10**6, last * 10**6))])
        limit = min(int(query.get("limit", 1000)), 1000)
        below = int(query.get("after", 1 << 62))
        found = [each for each in self.trades if each.number < below][-limit:]
        spelled = [
            {
                "trade_id": each.number,
                "side": "sell" if each.side == "buy" else "buy",
                "size": each.size,
                "price": each.price,
                "time": _rfc3339(each.at_us),
            }
            for each in reversed(found)
        ]
        cursor = {"CB-AFTER": str(found[0].number)} if found else {}
        return _json(spelled, cursor)

    def _kraken(self, query: dict[str, str]) -> Fault:
        if query["pair"] != "XBTUSD":
            return _json({"error": ["EQuery:Unknown asset pair"]})
        since = int(query["since"])
        found = [each for each in self.trades if each.at_us * 1000 > since][: self.page_max]
        nameless = self.trades[: self.without_id]
        spelled = [
            f'["{e.price}","{e.size}",{e.at_us // 10**6}.{e.at_us % 10**6:06}1,'
            f'"{e.side[0]}","m",""{"" if e in nameless else f",{e.number}"}]'
            for e in found
        ]
        last = found[-1].at_us * 1000 if found else since
        text = f'{{"error":[],"result":{{"XXBTZUSD":[{",".join(spelled)}],"last":"{last}"}}}}'
        return Fault(200, text=text)

    def _binance(self, kind: str, query: dict[str, str]) -> Fault:
        if query["symbol"] != "BTCUSDT":
            return Fault(400, text='{"code":-1121,"msg":"Invalid symbol."}')
        if kind == "klines":
            first, last = int(query["startTime"]) * 1000, int(query["endTime"]) * 1000
            return _json([self.kline(bar) for bar in self.bars(first, last)])
        if kind == "aggTrades":
            found = [e for e in self.trades if e.at_us >= int(query["startTime"]) * 1000][:1]
            return _json([{"a": 7, "f": e.number, "l": e.number} for e in found])
        limit = min(int(query["limit"]), self.page_max)
        found = [e for e in self.trades if e.number >= int(query["fromId"])][:limit]
        return _json(
            [
                {
                    "id": e.number,
                    "price": e.price,
                    "qty": e.size,
                    "time": e.at_us // 1000,
                    "isBuyerMaker": e.side == "sell",
                    "isBestMatch": True,
                }
                for e in found
            ]
        )

    def _massive(self, path: str, query: dict[str, str]) -> Fault:
        if path.startswith("/v2/aggs"):
            first, last = (int(part) * 1000 for part in path.split("/")[-2:])
            names = ("o", "h", "l", "c", "v")
            bars = [
                {"t": at_s * 1000, **dict(zip(names, map(float, (o, h, low, c, v)), strict=True))}
                for at_s, low, h, o, c, v in self.bars(first, last)
            ]
            return _json({"status": "OK", "results": bars})
        start = int(query.get("cursor", 0))
        low, high = (int(query[f"timestamp.{name}"]) // 1000 for name in ("gte", "lt"))
        found = [each for each in self.trades if low <= each.at_us < high]
        page = found[start : start + self.page_max]
        results = [
            {
                "exchange": 1,
                "id": str(e.number),
                "participant_timestamp": e.at_us * 1000,
                "price": float(e.price),
                "size": float(e.size),
                "conditions": [2 if e.side == "buy" else 1],
            }
            for e in page
        ]
        body: dict[str, Any] = {"status": "OK", "results": results}
        if start + self.page_max < len(found):
            bounds = f"timestamp.gte={low * 1000}&timestamp.lt={high * 1000}"
            body["next_url"] = (
                f"https://elsewhere.example{path}?cursor={start + self.page_max}&{bounds}"
            )
        return _json(body)

    def bars(self, from_us: int, to_us: int) -> list[tuple[int, str, str, str, str, str]]:
        """Return (second, low, high, open, close, volume) of each minute with a trade."""
        minutes: dict[int, list[Trade]] = {}
        for each in self.trades:
            if from_us <= each.at_us // 60_000_000 * 60_000_000 < to_us:
                minutes.setdefault(each.at_us // 60_000_000 * 60, []).append(each)
        return [
            (
                at_s,
                min((e.price for e in found), key=Decimal),
                max((e.price for e in found), key=Decimal),
                found[0].price,
                found[-1].price,
                str(sum(Decimal(e.size) for e in found)),
            )
            for at_s, found in sorted(minutes.items())
        ]

    def kline(self, bar: tuple[int, str, str, str, str, str]) -> list[Any]:
        """Return a bar as Binance has it."""
        at_s, low, high, first, last, volume = bar
        found = [e for e in self.trades if e.at_us // 60_000_000 * 60 == at_s]
        worth = str(sum(Decimal(e.price) * Decimal(e.size) for e in found))
        times = at_s * 1000, at_s * 1000 + 59_999
        return [
            times[0],
            first,
            high,
            low,
            last,
            volume,
            times[1],
            worth,
            len(found),
            "0",
            "0",
            "0",
        ]


def _json(body: Any, headers: dict[str, str] | None = None) -> Fault:
    return Fault(200, headers or {}, json.dumps(body))


def _rfc3339(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
