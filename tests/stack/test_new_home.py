"""A second stack beside the one that is up: started at once from two places, it leaves nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from infra.native.software import Software
from infra.native.stack import Stack
from infra.servers.process import environment, processes
from lake.settings import Settings
from lake.state import read_state

PROFILE = Stack(Software(Settings().stack_software.resolve()))
NAMES = ("postgres", "redis", "minio", "trino", "prefect", "worker", "mlflow")


def command(*words: str) -> subprocess.Popen[bytes]:
    call = [sys.executable, "-m", "infra.command.main", *words]
    return subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_new_home_up_twice_at_once_then_down_leaves_nothing(stack: Path, tmp_path: Path) -> None:
    home = tmp_path.resolve() / "home"
    words = ("up", "--profile", "stack", "--json", "--home", str(home))
    both = [command(*words) for _ in range(2)]
    try:
        answers = [json.loads(each.communicate(timeout=300)[0]) for each in both]
        assert [each.returncode for each in both] == [0, 0]
        assert sorted(len(answer["started"]) for answer in answers) == [0, len(NAMES)]
        ports = [each["port"] for each in read_state(home).values() if "port" in each]
        taken = [each["port"] for each in read_state(stack).values() if "port" in each]
        assert not set(ports) & set(taken)  # two stacks live beside each other
    finally:
        stopped = PROFILE.down(home)
    assert set(stopped) == set(NAMES)
    assert not [p for p in processes() if any(str(home) in word for word in p.words)]
    assert not [p for p in processes() if str(home) in " ".join(environment(p.pid).values())]
    assert PROFILE.down(home) == ()
