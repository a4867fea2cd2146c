"""Real ends for alerts: an HTTP server that takes Slack's JSON, and an SMTP server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from infra.servers.ports import choose

SECRET = "only-for-tests-T0K3N"
USER = "alerts"
READY_S_MAX = 60.0


@dataclass
class Webhook:
    """A server that answers with a status and keeps what was posted to it."""

    status: int = 200
    posts: list[dict[str, str]] = field(default_factory=list)
    tries: int = 0
    url: str = ""


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Run one on loopback."""
    kept = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.tries += 1
            if kept.status == 200:
                assert self.headers["Content-Type"] == "application/json"
                kept.posts.append(json.loads(body))
            self.send_response(kept.status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_port}/services/{SECRET}"
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Mailbox:
    """A mail server that takes anything, or only those who log in."""

    host: str
    port: int
    mails: list[Message]

    def url(self, login: str = "") -> str:
        return f"smtp://{login}{self.host}:{self.port}"

    def texts(self) -> list[str]:
        return [str(each.get_payload(decode=True), "utf-8") for each in self.mails]


@contextmanager
def mailbox(*, login: bool = False, host: str = "127.0.0.1") -> Iterator[Mailbox]:
    """Run one on loopback."""
    mails: list[Message] = []

    class Keep:
        async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
            assert isinstance(envelope.content, bytes)
            mails.append(message_from_bytes(envelope.content))
            return "250 kept"

    def known(
        _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: LoginPassword
    ) -> AuthResult:
        good = data == LoginPassword(USER.encode(), SECRET.encode())
        return AuthResult(success=good, handled=good)

    options = {"auth_require_tls": False, "authenticator": known} if login else {}
    controller = Controller(
        Keep(), hostname=host, port=choose(None), ready_timeout=READY_S_MAX, **options
    )
    controller.start()
    try:
        yield Mailbox(host, controller.port, mails)
    finally:
        controller.stop()


@contextmanager
def silent_server() -> Iterator[int]:
    """Take connections and never say a word; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
