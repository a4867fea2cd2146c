"""The stack profile: what `up` has started works together, and `up` mends what was broken."""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from pyarrow.fs import S3FileSystem

from infra.native.software import Software
from infra.native.stack import PASSWORDS, Stack
from infra.servers.home import read_passwords
from infra.servers.process import environment, processes, wait_until
from lake.clock import SystemClock
from lake.errors import Unavailable
from lake.settings import MEBIBYTE, Settings
from lake.state import read_state, valkey_url
from tests.stack.pool_runs import get, run_of

CLOCK = SystemClock()
SOFTWARE = Software(Settings().stack_software.resolve())
PROFILE = Stack(SOFTWARE)
NAMES = ("postgres", "redis", "minio", "trino", "prefect", "worker", "mlflow")
MEMORY_MIB_MAX = 8 * 1024
"""Of all servers together."""

LOOK_US_MAX, LOOKS_MAX = 5_000_000, 3
"""Of a look at a server that gives no answer, once in a few: the machine may be busy."""


def command(*words: str) -> subprocess.Popen[bytes]:
    call = [sys.executable, "-m", "infra.command.main", *words]
    return subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ask_trino(home: Path, statement: str) -> list[list[Any]]:
    trino = read_state(home)["trino"]
    request = urllib.request.Request(
        f"{trino['url']}/v1/statement",
        statement.encode(),
        {"X-Trino-User": trino["user"], "X-Trino-Source": "tests"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        page = json.loads(answer.read())
    rows = list(page.get("data", ()))
    while "nextUri" in page:
        page = get(page["nextUri"])
        rows += page.get("data", ())
    assert "error" not in page, page["error"]["message"]
    return rows


def test_every_server_answers_and_says_what_it_is(stack: Path) -> None:
    found = PROFILE.status(stack)
    assert tuple(found) == NAMES
    for name, each in found.items():
        assert each["running"], name
        assert each["health"] == "answers"
        assert each["address"].startswith("127.0.0.1:")
        assert each["version"]
        assert Path(each["log"]).is_file()


def test_all_servers_together_take_less_than_8_gib(stack: Path) -> None:
    used = {name: each["memory_bytes"] / MEBIBYTE for name, each in PROFILE.status(stack).items()}
    assert all(used.values())
    assert sum(used.values()) < MEMORY_MIB_MAX, used


def test_nothing_listens_beyond_loopback(stack: Path) -> None:
    ours = {
        each.pid
        for server in PROFILE.servers(stack, CLOCK).by_name().values()
        for each in server.group()
    }
    sockets = {link for pid in ours for link in links_of(pid)}
    assert sockets
    beyond = [address for address, inode in listening() if f"socket:[{inode}]" in sockets]
    assert [each for each in beyond if not ipaddress.ip_address(each).is_loopback] == []


def links_of(pid: int) -> set[str]:
    """Return what a process has open; it closes some of it meanwhile, or ends."""
    found = set[str]()
    with suppress(OSError):
        for each in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{each}"))
    return found


def listening() -> Iterator[tuple[str, str]]:
    """Yield the address and the inode of every listening TCP socket, in both families."""
    for family, path in ((socket.AF_INET, "/proc/net/tcp"), (socket.AF_INET6, "/proc/net/tcp6")):
        for line in Path(path).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                yield address_of(words[1].split(":")[0], family), words[9]


def address_of(digits: str, family: socket.AddressFamily) -> str:
    raw = bytes.fromhex(digits)
    parts = [raw[at : at + 4][::-1] for at in range(0, len(raw), 4)]
    text = socket.inet_ntop(family, b"".join(parts))
    return text.removeprefix("::ffff:")


def test_the_hot_tier_is_timescale_and_migrated(stack: Path) -> None:
    with psycopg.connect(read_state(stack)["postgres"]["dsn"]) as connection:
        row = connection.execute(
            "SELECT count(*) FROM timescaledb_information.hypertables"
            " WHERE hypertable_name = 'crypto_trades'"
        ).fetchone()
    assert row == (1,)


def test_redis_keeps_what_it_answered_and_asks_for_its_password(stack: Path) -> None:
    with redis.Redis.from_url(valkey_url(stack)) as client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}
    without = valkey_url(stack).split("@")[1]
    with (
        redis.Redis.from_url(f"redis://{without}") as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_the_buckets_are_there_and_closed_to_a_wrong_key(stack: Path) -> None:
    s3 = read_state(stack)["s3"]

    def store(secret: str) -> S3FileSystem:
        return S3FileSystem(
            access_key=s3["access_key"],
            secret_key=secret,
            endpoint_override=s3["endpoint"],
            region=s3["region"],
        )

    with store(s3["secret_key"]).open_output_stream(f"{s3['bucket']}/test/one") as file:
        file.write(b"1")
    store(s3["secret_key"]).delete_dir(f"{s3['bucket']}/test")
    with pytest.raises(OSError, match="SIGNATURE_DOES_NOT_MATCH"):
        store("wrong").open_output_stream(f"{s3['bucket']}/test/two").close()


def test_trino_reads_the_hot_tier_and_the_lake_s_catalog(stack: Path) -> None:
    catalogs = {row[0] for row in ask_trino(stack, "SHOW CATALOGS")}
    assert {"hot", "lake"} <= catalogs
    assert ask_trino(stack, "SELECT count(*) >= 0 FROM hot.market.crypto_trades") == [[True]]
    assert ask_trino(stack, "SHOW SCHEMAS FROM lake") != []


def test_prefect_and_mlflow_keep_their_records_in_databases_of_their_own(stack: Path) -> None:
    state = read_state(stack)
    assert get(f"{state['prefect']['url']}/health") is True
    with psycopg.connect(state["postgres"]["dsn"]) as connection:
        rows = connection.execute(
            "SELECT datname, pg_get_userbyid(datdba) FROM pg_database"
            " WHERE datname IN ('prefect', 'mlflow') ORDER BY 1"
        ).fetchall()
    assert rows == [("mlflow", "mlflow"), ("prefect", "prefect")]


def test_mlflow_keeps_an_artefact_in_the_store(stack: Path) -> None:
    state = read_state(stack)
    base = f"{state['mlflow']['url']}/api/2.0/mlflow-artifacts/artifacts"
    request = urllib.request.Request(f"{base}/0/test/note.txt", b"kept", method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"{base}/0/test/note.txt", timeout=30) as answer:
        assert answer.read() == b"kept"


def test_a_run_of_the_pool_is_executed_by_the_worker(stack: Path) -> None:
    """The flows of prefect.yaml are deployed to the pool, and that of an earlier database, which
    nobody named, is paused; a run that is scheduled there is done."""
    url = read_state(stack)["prefect"]["url"]
    deployed = subprocess.run(
        [sys.executable, "-c", "import threading; from pathlib import Path;"
         " from flows.pool import deploy; from flows.serve import unneeded;"
         f" deploy(threading.Event(), unneeded(Path({str(stack)!r})))"],
        env={**os.environ, "PREFECT_API_URL": url, "PREFECT_HOME": str(stack / "flows")},
        timeout=600,
        check=True,
    )  # fmt: skip
    assert deployed.returncode == 0
    found = get(f"{url}/deployments/name/small-files-to-large/pool-upkeep")
    assert found["work_pool_name"] == "ticklake"
    assert found["schedules"]
    assert not found["paused"]
    assert get(f"{url}/deployments/name/old-tables-to-journal/pool-follow")["paused"]
    run = run_of(url, "small-files-to-large/pool-upkeep")
    assert run["state_type"] == "COMPLETED"
    log = Path(PROFILE.status(stack)["worker"]["log"]).read_text()
    assert f"submitting flow run '{run['id']}'" in log


@pytest.mark.parametrize("name", NAMES)
def test_a_server_killed_is_started_and_the_others_keep_running(stack: Path, name: str) -> None:
    before = {each: found["pid"] for each, found in PROFILE.status(stack).items()}
    os.kill(before[name], signal.SIGKILL)
    assert wait_until(CLOCK, lambda: not PROFILE.status(stack)[name]["running"], 60)
    assert PROFILE.up(stack).started == (name,)
    after = {each: found["pid"] for each, found in PROFILE.status(stack).items()}
    assert {each for each in NAMES if after[each] != before[each]} == {name}


@pytest.mark.parametrize("name", ["postgres", "trino"])
def test_a_frozen_server_is_said_to_give_no_answer(stack: Path, name: str) -> None:
    pid = PROFILE.status(stack)[name]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        took_us: list[int] = []
        while len(took_us) < LOOKS_MAX and min(took_us, default=LOOK_US_MAX) >= LOOK_US_MAX:
            start_us = CLOCK.monotonic_us()
            found = PROFILE.status(stack)[name]
            took_us.append(CLOCK.monotonic_us() - start_us)
        assert min(took_us) < LOOK_US_MAX
    finally:
        os.kill(pid, signal.SIGCONT)
    assert not found["running"]
    assert found["health"] == "does not answer"


def test_no_password_is_in_a_command_line_or_a_log(stack: Path) -> None:
    secrets = read_passwords(stack, PASSWORDS).values()
    words = [word for process in processes() for word in process.words]
    assert not [word for word in words if any(secret in word for secret in secrets)]
    logs = [path.read_text(errors="replace") for path in (stack / "log").glob("*.log")]
    assert not any(secret in text for text in logs for secret in secrets)
    for name in ("state.json", "passwords.json"):
        assert (stack / "run" / name).stat().st_mode & 0o077 == 0


def test_a_home_is_of_one_profile(stack: Path) -> None:
    with command("up", "--profile", "embedded", "--home", str(stack)) as refused:
        _, said = refused.communicate(timeout=180)
    assert refused.returncode == 1
    assert b"is of the stack profile, not of embedded: ask for that one" in said


def test_software_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    nowhere = Stack(Software(tmp_path / "software"))
    with pytest.raises(Unavailable, match=r"not installed: install it with: make stack"):
        nowhere.up(tmp_path / "home")


def test_a_new_home_up_twice_at_once_then_down_leaves_nothing(stack: Path, tmp_path: Path) -> None:
    home = tmp_path.resolve() / "home"
    words = ("up", "--profile", "stack", "--json", "--home", str(home))
    both = [command(*words) for _ in range(2)]
    try:
        answers = [json.loads(each.communicate(timeout=600)[0]) for each in both]
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
