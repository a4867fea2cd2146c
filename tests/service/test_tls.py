"""Whose certificate the live service has, and that who asks for its health believes no other."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from infra.cluster import healthy
from infra.servers import ports
from infra.servers.certificates import set_door
from infra.servers.door import MADE, OFF
from infra.servers.process import wait_until
from infra.servers.service_tls import FOLDER, folder_of
from lake.clock import SystemClock
from lake.errors import WrongUse
from serving.service.house import Address
from serving.service.server import server_of

CLOCK = SystemClock()


def test_it_has_the_servers_one_made_for_it_or_that_of_others(tmp_path: Path) -> None:
    home = tmp_path.resolve()
    assert folder_of(home, "127.0.0.1", "", ()) is None
    set_door(home, "127.0.0.1", MADE, CLOCK)
    assert folder_of(home, "127.0.0.1", "", ()) == home / "tls"
    assert folder_of(home, "127.0.0.1", OFF, ()) is None
    assert folder_of(home, "0.0.0.0", MADE, ("desk.example.org",)) == home / FOLDER
    assert folder_of(home, "0.0.0.0", str(home / FOLDER), ()) == home / FOLDER
    assert (home / FOLDER / "server.key").stat().st_mode & 0o077 == 0
    with pytest.raises(WrongUse, match="without TLS"):
        Address("0.0.0.0", 1, None)


def test_health_is_believed_of_the_right_certificate_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, port = tmp_path.resolve(), ports.choose(None)
    folder = folder_of(home, "127.0.0.1", MADE, ())
    assert folder is not None
    (home / "another").mkdir()
    stranger = folder_of(home / "another", "127.0.0.1", MADE, ())
    app, wrong = FastAPI(), list[str]()

    @app.get("/v1/health")
    async def health() -> dict[str, Any]:
        return {"status": "degraded" if wrong else "ok", "wrong": wrong}

    pair = str(folder / "server.crt"), str(folder / "server.key")
    server: uvicorn.Server = server_of(app, "127.0.0.1", port, certificate=pair)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        url = f"https://127.0.0.1:{port}/v1/health"
        assert wait_until(CLOCK, lambda: healthy.main(url, str(folder / "ca.crt")) == 0, 60)
        assert healthy.main(url, f"{stranger}/ca.crt") == 1
        assert healthy.main(url.replace("health", "nothing"), str(folder / "ca.crt")) == 1
        assert healthy.main(f"http://127.0.0.1:{port}/v1/health", str(folder / "ca.crt")) == 1
        wrong.append("worker says nothing")
        assert healthy.main(url, str(folder / "ca.crt")) == 1
        assert "worker says nothing" in capsys.readouterr().err
    finally:
        server.should_exit = True
        thread.join()
