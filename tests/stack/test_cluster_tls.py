"""Redis as infra/kubernetes starts it: a cluster of three, by TLS alone, on the manifest's words.

Paths, ports and the nodes' names are this machine's; its replicas are left out.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
import redis

from feature_repo.store.served import Put, Served
from feature_repo.store.views import VIEWS
from infra.native.debian_part import REDIS
from infra.native.software import Software
from infra.native.tools import Tool
from infra.servers import ports
from infra.servers.addresses import from_env
from infra.servers.certificates import lay_out
from infra.servers.door import MADE
from infra.servers.process import wait_until
from lake.clock import SystemClock
from lake.errors import Unavailable
from lake.settings import Settings
from tests.infra.manifests import INFRA, containers, pods

CLOCK = SystemClock()
NODES = 3
READY_S_MAX = 60.0
WORD = "nodes-and-clients-know-this"
NOW_US = 1_760_000_000_000_000
SERIES = [(f"X:{n}USD", "sim:1", "spot", "1m") for n in range(200)]


@dataclass(frozen=True)
class Cluster:
    """Its nodes' ports; who vouches for it, and who does not."""

    ports: tuple[int, ...]
    ca: Path
    stranger: Path

    def url(self, ca: Path) -> str:
        """Return the address as the given profile makes it of what pods are told."""
        told = {"REDIS_HOST": "localhost", "REDIS_PORT": str(self.ports[0]), "REDIS_CA": str(ca)}
        other = ("POSTGRES_HOST", "POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY")
        told |= {"REDIS_PASSWORD": WORD, "S3_ENDPOINT": "https://s3", **dict.fromkeys(other, "x")}
        return str(from_env(told)["valkey"]["url"])


def program(name: str) -> str:
    """Return the words that run a program of Redis."""
    software = Software(Settings().stack_software.resolve())
    return shlex.join(Tool(str(REDIS.with_name(name)), "", software.usr).words)


def script(folder: Path, port: int) -> str:
    """Return what a node's container runs, here."""
    (node,) = pods()["StatefulSet/redis"]["spec"]["containers"]
    text = str(node["command"][2])
    changed = {
        "/run/redis": str(folder),
        "/etc/ticklake": str(INFRA / "config"),
        "/data": str(folder),
        "/tls/tls": str(folder.parent / "tls" / "server"),
        "/tls/ca": str(folder.parent / "tls" / "ca"),
        "tls-port 6379": f"tls-port {port}",
        "%s.redis": "localhost",
        "exec redis-server": f"exec {program('redis-server')}",
    }
    assert [there for there in changed if there not in text] == []
    return re.sub("|".join(changed), lambda found: changed[found[0]], text)


def free_ports() -> list[int]:
    """Return ports whose bus, 10,000 above, is free too."""
    found: list[int] = []
    while len(found) < NODES:
        port = ports.choose(None)
        with socket.socket() as bus:
            if bus.connect_ex(("127.0.0.1", port + 10_000)) and port not in found:
                found.append(port)
    return found


@pytest.fixture(scope="module")
def cluster(stack: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("redis")
    for name in ("tls", "stranger"):
        # redis-py makes an address of localhost, and of no other name
        lay_out(folder / name, ["localhost", "127.0.0.1"], MADE, CLOCK)
    found = Cluster(tuple(free_ports()), folder / "tls" / "ca.crt", folder / "stranger" / "ca.crt")
    environment = {**os.environ, "REDIS_PASSWORD": WORD, "REDISCLI_AUTH": WORD, "HOSTNAME": "x"}
    started = []
    try:
        for port in found.ports:
            own = folder / str(port)
            own.mkdir()
            words = ["sh", "-euc", script(own, port)]
            with (own / "log").open("wb") as log:
                started.append(
                    subprocess.Popen(words, env=environment, stdout=log, stderr=log, cwd=own)
                )
        (node,) = pods()["StatefulSet/redis"]["spec"]["containers"]
        ping = node["readinessProbe"]["exec"]["command"][2]
        for port in found.ports:
            words = here(ping, found, port)
            ready = wait_until(CLOCK, partial(done, words, environment), READY_S_MAX)
            assert ready, (folder / str(port) / "log").read_text()
        assert done(here(join(found), found, found.ports[0]), environment)
        assert wait_until(CLOCK, partial(whole, found), READY_S_MAX)
        yield found
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(60)


def done(words: str, environment: dict[str, str]) -> bool:
    """Run a pod's words; say whether they are content."""
    ended = subprocess.run(
        ["timeout", str(READY_S_MAX), "sh", "-euc", words],
        env=environment,
        capture_output=True,
        check=False,
    )
    return ended.returncode == 0


def here(words: str, cluster: Cluster, port: int) -> str:
    """Return a pod's words of redis-cli for a node of these."""
    cli = f"{program('redis-cli')} -p {port}"
    return words.replace("redis-cli", cli, 1).replace("/tls/ca.crt", str(cluster.ca))


def join(cluster: Cluster) -> str:
    """Return what the job runs that makes nodes a cluster, of these."""
    (job,) = containers(pods()["Job/redis-join"])
    line = next(each for each in job["command"][2].splitlines() if "--cluster create" in each)
    nodes = " ".join(f"127.0.0.1:{port}" for port in cluster.ports)
    return line.replace("$nodes", nodes).replace("replicas 1", "replicas 0")


def node(cluster: Cluster, number: int, ca: Path) -> redis.Redis:
    return redis.Redis(
        host="localhost",
        port=cluster.ports[number],
        password=WORD,
        ssl=True,
        ssl_ca_certs=str(ca),
        retry=None,
    )


def whole(cluster: Cluster) -> bool:
    """Tell whether every node knows that all slots are somebody's."""
    for number in range(NODES):
        with node(cluster, number, cluster.ca) as client:
            if client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                return False
    return True


def rows() -> pa.Table:
    """Return a row of a view for each series."""
    view, names = VIEWS[0], ("ticker", "exchange", "market", "interval")
    columns = {name: [each[i] for each in SERIES] for i, name in enumerate(names)}
    times = pa.array([NOW_US] * len(SERIES), pa.timestamp("us", tz="UTC"))
    values = {name: pa.array([2.5] * len(SERIES)) for name in view.columns}
    return pa.table({**columns, "event_time": times, **values})


def test_values_of_all_slots_are_written_and_read(cluster: Cluster) -> None:
    with Served(cluster.url(cluster.ca)) as served:
        assert served.write(rows(), VIEWS[0], NOW_US) == Put(len(SERIES), 0)
        found = served.read(SERIES, VIEWS[0]).table()
    assert found[VIEWS[0].columns[0]].to_pylist() == [2.5] * len(SERIES)
    for number in range(NODES):
        with node(cluster, number, cluster.ca) as client:
            assert client.dbsize() > len(SERIES) // 10
            assert client.config_get("tls-cluster", "tls-replication", "port") == {
                "tls-cluster": "yes",
                "tls-replication": "yes",
                "port": "0",
            }


def test_clients_are_sent_to_names_which_certificates_are_for(cluster: Cluster) -> None:
    with node(cluster, 0, cluster.ca) as client:
        slots = client.execute_command("CLUSTER SLOTS")
    places = {(host, port) for _, _, (host, port, *_) in slots}
    assert places == {(b"localhost", port) for port in cluster.ports}


def test_a_stranger_s_certificate_is_not_believed_and_plain_gets_no_answer(
    cluster: Cluster,
) -> None:
    with (
        Served(cluster.url(cluster.stranger)) as served,
        pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        served.read(SERIES, VIEWS[0])
    with (
        redis.Redis(port=cluster.ports[0], password=WORD, retry=None, socket_timeout=10) as plain,
        pytest.raises(redis.ConnectionError),
    ):
        plain.ping()
