"""Coinbase's Advanced Trade API on a local server: its paths and words, over a broker of paper.

`faults` are met first, one a request: a status that is answered, or 0: the request is done and its
answer lost. With a public key every request must bear a token that it signed.
"""

from __future__ import annotations

import base64
import json
import threading
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from feature_repo.trading.costs import Costs
from feature_repo.trading.market import Instrument
from feature_repo.trading.money import decimal_of, units
from feature_repo.trading.order import Fill, Order
from serving.broker.broker import Accepted
from serving.broker.paper_broker import PaperBroker

ROOT = "/api/v3/brokerage/orders"
PAGE = 2


class CoinbaseServer:
    """The venue; now_us: its time. A context manager."""

    def __init__(self, costs: Costs, public: ec.EllipticCurvePublicKey | None = None) -> None:
        self.paper = PaperBroker(costs)
        self.now_us = 1_700_000_000_000_000
        self.faults: list[int] = []
        self.asked: list[str] = []
        self._public = public
        self._orders: dict[str, dict[str, Any]] = {}
        self._fills: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> CoinbaseServer:
        venue = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                self._answer(json.loads(self.rfile.read(size)))

            def _answer(self, body: dict[str, Any]) -> None:
                with venue._lock:
                    status, said = venue._do(self.command, self.path, body, self.headers)
                if status == 0:
                    self.close_connection = True
                    return
                raw = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _do(self, method: str, path: str, body: Any, headers: Any) -> tuple[int, Any]:
        parts = urlsplit(path)
        self.asked.append(f"{method} {parts.path}")
        if self._public is not None and not self._is_signed(method, parts.path, headers):
            return 401, {"error": "unauthorized"}
        fault = self.faults.pop(0) if self.faults else None
        if fault:
            return fault, {"error": "INTERNAL"}
        said = self._said(method, parts.path, parse_qs(parts.query), body)
        return (0 if fault == 0 else 200), said

    def _said(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
        self._note()
        if (method, path) == ("POST", ROOT):
            return self._create(body)
        if (method, path) == ("POST", f"{ROOT}/batch_cancel"):
            return {"results": [self._cancel(each) for each in body["order_ids"]]}
        if path == f"{ROOT}/historical/batch":
            return self._list(query)
        if path == f"{ROOT}/historical/fills":
            mine = [each for each in self._fills if each["order_id"] == query["order_ids"][0]]
            at = int(query.get("cursor", ["0"])[0] or 0)
            more = at + PAGE < len(mine)
            return {"fills": mine[at : at + PAGE], "cursor": str(at + PAGE) if more else ""}
        return {"order": self._orders[path.rpartition("/")[2]]}

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        venue_id = f"venue-{body['client_order_id']}"
        if venue_id not in self._orders:
            self._orders[venue_id] = {
                "order_id": venue_id,
                "client_order_id": body["client_order_id"],
                "product_id": body["product_id"],
                "created_time": _text(self.now_us),
                "status": "PENDING",
                "filled_size": "0",
            }
            self.paper.place(order_of(body), self.now_us)
        same = {"order_id": venue_id, "client_order_id": body["client_order_id"]}
        return {"success": True, "success_response": same}

    def _list(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """Return a page of a product's orders since a time, the newest first."""
        ((product,), (since,)) = query["product_ids"], query["start_date"]
        mine = [
            each
            for each in reversed(self._orders.values())
            if each["product_id"] == product and each["created_time"] >= since
        ]
        at = int(query.get("cursor", ["0"])[0] or 0)
        more = at + PAGE < len(mine)
        cursor = str(at + PAGE) if more else ""
        return {"orders": mine[at : at + PAGE], "has_next": more, "cursor": cursor}

    def _cancel(self, venue_id: str) -> dict[str, Any]:
        self.paper.cancel(venue_id.removeprefix("venue-"), self.now_us)
        return {"success": True, "order_id": venue_id, "failure_reason": ""}

    def _note(self) -> None:
        """Write down what the broker of paper says."""
        for report in self.paper.reports(self.now_us):
            order = self._orders[f"venue-{report.client_id}"]
            if isinstance(report, Accepted):
                order["status"] = "OPEN"
            elif isinstance(report, Fill):
                filled = Decimal(order["filled_size"]) + decimal_of(report.size)
                order["filled_size"] = f"{filled:f}"
                self._fills.append(_fill(len(self._fills), order["order_id"], report))
                if order["order_id"].removeprefix("venue-") not in self.paper.working():
                    order["status"] = "FILLED"
            else:
                order["status"] = "FAILED" if report.state == "rejected" else "CANCELLED"
                order["reject_reason"] = report.reason

    def _is_signed(self, method: str, path: str, headers: Any) -> bool:
        assert self._public is not None
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        signed, _, signature = token.rpartition(".")
        raw = _decoded(signature)
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        der = encode_dss_signature(r, s)
        try:
            self._public.verify(der, signed.encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        said = json.loads(_decoded(signed.partition(".")[2]))
        return bool(said["uri"] == f"{method} {headers['Host']}{path}")


def order_of(body: dict[str, Any]) -> Order:
    """Return the order that a body creates."""
    ((kind, inner),) = body["order_configuration"].items()
    instrument = Instrument(f"X:{body['product_id'].replace('-', '')}", "sim", "spot")
    words = {"market_market_ioc": "market", "stop_limit_stop_limit_gtc": "stop"}
    price = inner.get("stop_price") or inner.get("limit_price")
    return Order(
        instrument,
        "buy" if body["side"] == "BUY" else "sell",
        units(inner["base_size"]),
        words.get(kind, "limit"),  # type: ignore[arg-type]
        units(price) if price else None,
        kind == "sor_limit_ioc",
        inner.get("post_only", False),
        body["client_order_id"],
    )


def _fill(number: int, venue_id: str, fill: Fill) -> dict[str, Any]:
    return {
        "entry_id": f"entry-{number}",
        "order_id": venue_id,
        "trade_time": _text(fill.time_us),
        "price": f"{decimal_of(fill.price):f}",
        "size": f"{decimal_of(fill.size):f}",
        "commission": f"{decimal_of(fill.fee):f}000",
        "liquidity_indicator": "MAKER" if fill.maker else "TAKER",
        "side": fill.side.upper(),
    }


def _text(time_us: int) -> str:
    time = datetime.fromtimestamp(time_us / 1e6, UTC)
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
