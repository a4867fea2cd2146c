"""ticklake kill: one word stops all, whatever is up, and holds until it is taken back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.command.main import run
from lake.clock import SystemClock
from lake.state import write_state
from serving.risk.kill_switch import KILLED, KillSwitch
from serving.streams import keys
from serving.streams.connect import connected

CLOCK = SystemClock()


@pytest.mark.parametrize("redis", ["none", "there", "away"])
def test_it_stops_and_releases(
    redis: str, tmp_path: Path, valkey_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = {"there": valkey_url, "away": "redis://127.0.0.1:1/0"}
    if redis in urls:
        write_state(tmp_path, {"valkey": {"url": urls[redis]}})

    def said(*words: str) -> dict[str, Any]:
        assert run(["kill", *words, "--home", str(tmp_path), "--json"]) == 0
        return dict(json.loads(capsys.readouterr().out))

    client = connected(valkey_url, wait_s=60.0) if redis == "there" else None
    switch = KillSwitch(tmp_path / KILLED, client, CLOCK)
    try:
        word = said("--reason", "a test\nof it")
        assert (word["killed"], word["reason"], word["redis"]) == (
            *(True, "a test of it"),
            redis == "there",
        )
        assert switch.is_on
        if client is not None:
            client.delete(keys.KILLED)  # Redis is emptied: the word survives
            assert KillSwitch(tmp_path / KILLED, client, CLOCK).is_on
        assert not said("--release")["killed"]
        assert not KillSwitch(tmp_path / KILLED, client, CLOCK).is_on
    finally:
        if client is not None:
            client.delete(keys.KILLED)
            client.close()
