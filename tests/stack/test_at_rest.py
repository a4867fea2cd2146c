"""What the stack's store has on its disk: nothing that was put there can be read, with a key."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from minio import Minio

from infra.native import plans
from infra.native.software import Software
from infra.servers import at_rest
from infra.servers.ports import choose
from infra.servers.web_server import WebServer
from lake.clock import SystemClock
from lake.settings import Settings

SECRET = "only-a-test-" * 4
TEXT = b"a tick of X:BTCUSD that nobody is to read " * 2_000
CLOCK = SystemClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[WebServer]:
    software = Software(Settings().stack_software)
    if not software.minio.exists():
        pytest.skip("no software of the stack: ticklake's stack is installed by make stack")
    home = tmp_path.resolve()
    (home / "log").mkdir()
    server = WebServer(home, CLOCK, plans.kinds(software)["minio"])
    yield server
    server.down()


def started(server: WebServer, home: Path) -> Minio:
    """Start the store, or anew where its plan is another now; return a client."""
    plan = plans.minio(Software(Settings().stack_software), home, SECRET, server.door)
    web = server.up(choose(None), plan)
    return Minio(f"127.0.0.1:{web.port}", access_key=plans.S3_USER, secret_key=SECRET, secure=False)


def put(client: Minio, name: str) -> str | None:
    """Store the text; return how the store says that it is encrypted."""
    if not client.bucket_exists(bucket_name="lake"):
        client.make_bucket(bucket_name="lake")
    client.put_object(bucket_name="lake", object_name=name, data=io.BytesIO(TEXT), length=len(TEXT))
    head = client.stat_object(bucket_name="lake", object_name=name)
    return (head.metadata or {}).get("x-amz-server-side-encryption")


def got(client: Minio, name: str) -> bytes:
    answer = client.get_object(bucket_name="lake", object_name=name)
    try:
        return bytes(answer.read())
    finally:
        answer.close()


def on_disk(home: Path, name: str) -> bytes:
    folder = home / "minio" / "lake" / name
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_store_with_a_key_writes_nothing_that_can_be_read(
    store: WebServer, tmp_path: Path
) -> None:
    home = tmp_path.resolve()
    client = started(store, home)
    assert put(client, "before") is None
    assert TEXT[:40] in on_disk(home, "before")
    key = at_rest.see_to_key(home)
    assert key.stat().st_mode & 0o077 == 0
    assert at_rest.see_to_key(home).read_text() == key.read_text()
    client = started(store, home)
    assert put(client, "after") == "aws:kms"
    assert TEXT[:40] not in on_disk(home, "after")
    assert len(on_disk(home, "after")) >= len(TEXT)
    assert got(client, "after") == got(client, "before") == TEXT
    store.down()
    assert got(started(store, home), "after") == TEXT
