"""Trino as infra/kubernetes starts it: a coordinator and a worker on the manifests' own files.

Catalogs are left out. Clients come by https and a password, nodes by http and a secret.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from infra.native import plans, tls_folder, trino_door
from infra.native.software import Software
from infra.servers import ports
from infra.servers.config_files import lines
from infra.servers.door import MADE
from infra.servers.process import wait_until
from lake.clock import SystemClock
from lake.errors import TicklakeError
from lake.settings import Settings
from lake.trino_session import Trino

CLOCK = SystemClock()
INFRA = Path(__file__).resolve().parents[2] / "infra"
READY_S_MAX = 120.0
ASK_S_MAX = 10.0
SECRET = "nodes-know-this-one-and-nobody-else-does"
WORDS = {trino_door.password_name(user): f"word-of-{user}" for user in trino_door.users()}
PLUGIN = "password-authenticators"


@dataclass(frozen=True)
class Nodes:
    """The coordinator's ports, and the file that vouches for it."""

    http: int
    https: int
    ca: Path

    def session(self, user: str, password: str) -> Trino:
        url = f"https://localhost:{self.https}"
        return Trino(url, user=user, password=password, ca=str(self.ca), catalog="system")


def words_of(role: str, folder: Path, http: int) -> list[str]:
    """Return the command of a node, with the options that its container has."""
    software = Software(Settings().stack_software.resolve())
    jvm = lines(INFRA / "config" / "trino" / "jvm.config")
    return [
        *plans.java(software).words,
        *(word for word in jvm if not word.startswith("-Xmx")),
        "-Xmx768M",
        "-Dnode.environment=ticklake",
        "-Dnode.internal-address=127.0.0.1",
        "-Dnode.bind-ip=127.0.0.1",
        f"-Dnode.data-dir={folder / role}",
        f"-Ddiscovery.uri=http://127.0.0.1:{http}",
        f"-Dconfig={INFRA / 'kubernetes' / f'trino-{role}.properties'}",
        *("-cp", f"{software.trino}/lib/*", "io.trino.server.TrinoServer"),
    ]


@pytest.fixture(scope="module")
def nodes(stack: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("trino")
    tls = folder / "tls"
    tls_folder.main(tls, ["localhost", "trino"], WORDS, MADE, CLOCK)
    software = Software(Settings().stack_software.resolve())
    for name in ("catalogs", "plugins", "coordinator", "worker"):
        (folder / name).mkdir()
    (folder / "plugins" / PLUGIN).symlink_to(software.trino / "plugin" / PLUGIN)
    found = Nodes(ports.choose(None), ports.choose(None), tls / "ca.crt")
    environment = {
        **os.environ,
        "TRINO_TLS_PORT": str(found.https),
        "TRINO_CATALOGS": str(folder / "catalogs"),
        "TRINO_PLUGINS": str(folder / "plugins"),
        "TRINO_CONFIG": str(INFRA / "config" / "trino"),
        "TLS_FOLDER": str(tls),
        "TRINO_PASSWORDS": str(tls / "run" / trino_door.PASSWORDS),
        "TRINO_SECRET": SECRET,
    }
    started = []
    try:
        for role, port in (("coordinator", found.http), ("worker", ports.choose(None))):
            with (folder / f"{role}.log").open("wb") as log:
                started.append(
                    subprocess.Popen(
                        words_of(role, folder, found.http),
                        env={**environment, "TRINO_PORT": str(port)},
                        cwd=folder,  # it logs requests in var/log of where it is started
                        stdout=log,
                        stderr=log,
                    )
                )
        with found.session("operator", "word-of-operator") as session:
            ready = wait_until(CLOCK, lambda: workers(session) == 1, READY_S_MAX)
        assert ready, (folder / "coordinator.log").read_text()[-3000:]
        yield found
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(60)


def workers(session: Trino) -> int:
    """Return how many workers the coordinator knows; 0 while it is not ready itself."""
    query = "SELECT count(*) FROM system.runtime.nodes WHERE NOT coordinator AND state = 'active'"
    try:
        return int(session.execute(query)[0][0])
    except TicklakeError:
        return 0


def test_a_name_counts_with_its_own_password_only(nodes: Nodes) -> None:
    with nodes.session("analyst", "word-of-analyst") as session:
        assert [tuple(row) for row in session.execute("SELECT current_user")] == [("analyst",)]
        found = session.execute("SELECT count(*) FROM (VALUES 1, 2, 3) AS t (i)")
        assert [tuple(row) for row in found] == [(3,)]  # on the worker
    for user, password in (("analyst", "wrong"), ("operator", "word-of-analyst"), ("me", "")):
        with nodes.session(user, password) as session, pytest.raises(TicklakeError):
            session.execute("SELECT 1")


def test_http_is_no_way_in(nodes: Nodes) -> None:
    place = f"http://127.0.0.1:{nodes.http}/v1"
    info = requests.get(f"{place}/info", timeout=ASK_S_MAX)  # what probes ask
    assert (info.status_code, info.json()["starting"]) == (200, False)
    for auth in (None, ("operator", "word-of-operator")):
        asked = requests.post(
            f"{place}/statement",
            "SELECT 1",
            headers={"X-Trino-User": "operator"},
            auth=auth,
            timeout=ASK_S_MAX,
        )
        assert asked.status_code in (401, 403), asked.text
    tasks = requests.get(f"{place}/task", headers={"X-Trino-User": "operator"}, timeout=ASK_S_MAX)
    assert tasks.status_code in (401, 403, 404), tasks.text
