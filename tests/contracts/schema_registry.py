"""A schema registry on loopback: subjects, versions and ids, as Confluent's API has them.

It checks what the protocol asks (content type, JSON, AVRO, a parsable schema) and refuses a schema
that drops or retypes a field, which is what FULL_TRANSITIVE means for ours.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from fastavro import parse_schema

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


@dataclass
class Stored:
    """What the registry holds; down: it answers 503; key: what it asks for."""

    ids: dict[str, int] = field(default_factory=dict)
    subjects: dict[str, list[int]] = field(default_factory=dict)
    levels: dict[str, str] = field(default_factory=dict)
    down: bool = False
    key: str = ""
    url: str = ""

    def register(self, subject: str, text: str) -> tuple[int, dict[str, Any]]:
        schema = json.loads(text)
        parse_schema(schema)
        if self.ids.get(text) in self.subjects.get(subject, []):
            return 200, {"id": self.ids[text]}
        known = {each: json.loads(found) for found, each in self.ids.items()}
        for id_ in self.subjects.get(subject, []):
            fields = {each["name"]: each["type"] for each in schema["fields"]}
            for old in known[id_]["fields"]:
                if fields.get(old["name"]) != old["type"]:
                    message = f"Schema being registered is incompatible: {old['name']}"
                    return 409, {"error_code": 409, "message": message}
        found = self.ids.setdefault(text, len(self.ids) + 1)
        versions = self.subjects.setdefault(subject, [])
        if found not in versions:
            versions.append(found)
        return 200, {"id": found}


@contextmanager
def registry() -> Iterator[Stored]:
    """Run a registry on loopback."""
    stored = Stored()

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def asked(self) -> dict[str, Any] | None:
            document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["Content-Type"] == CONTENT_TYPE
            if stored.down:
                self.answer(503, {"error_code": 50003, "message": "leader is away"})
            elif stored.key and self.headers["Authorization"] != f"Bearer {stored.key}":
                self.answer(401, {"error_code": 401, "message": "Unauthorized"})
            else:
                return dict(document)
            return None

        def do_PUT(self) -> None:
            document = self.asked()
            if document is not None:
                _, kind, subject = unquote(self.path).split("/")
                assert kind == "config"
                stored.levels[subject] = document["compatibility"]
                self.answer(200, document)

        def do_POST(self) -> None:
            document = self.asked()
            if document is not None:
                _, kind, subject, versions = unquote(self.path).split("/")
                assert (kind, versions, document["schemaType"]) == ("subjects", "versions", "AVRO")
                self.answer(*stored.register(subject, document["schema"]))

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stored.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stored
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
