"""How the parts of infra/compose.yaml hang together: what each is told is read, whom it waits for
can be waited for, whose volume is whose; how the database is backed up and brought back."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from infra.cluster import backups, remote, restore
from infra.native import timescale
from infra.recovery.folder_place import archived_to
from infra.servers import addresses
from lake.settings import PREFIX, Settings, variable
from tests.infra.test_compose import (
    DOCKERFILE,
    FILE,
    INFRA,
    ONCE,
    ONCE_BEHIND_TLS,
    TLS_FILE,
    TLS_ONLY,
    config,
    variables,
)

MEMORY_BYTES_MAX = 24 << 30
"""What all limits together may come to: a machine of 32 GiB, its own files' cache beside them."""

PROGRAMS = {
    "timescaledb": {"pg_isready"},
    "minio": {"curl"},
    "redis": {"redis-cli", "grep"},
    "trino": {"curl", "grep"},
    "prometheus": {"wget"},
    "grafana": {"wget"},
    "flows": {"test", "find"},
    "backups": {"test", "find"},
}
"""Programs of the images that health is asked by; those of Python ask by itself."""

USERS = {
    "home": {"10001:10001", "root"},
    "prefect": {"10001:10001"},
    "mlflow": {"10001:10001"},
    "archive": {"70:70", "root", "postgres"},
    "timescaledb": {"root", "postgres"},
}
"""Who writes to a volume: of our images by their Dockerfile, the database's by its entrypoint."""

NOT_OURS = re.compile(r"PREFECT_|MLFLOW_TRACKING_|PG[A-Z]+$|AWS_CA_BUNDLE$|DO_NOT_TRACK$")
"""Variables that the programs of others in our processes read."""


def read(folder: Path, *over: Path) -> dict[str, dict[str, Any]]:
    """Return the services as compose understands them, every password set."""
    env_file = folder / ".env"
    env_file.write_text("".join(f"{name}=given-{name}\n" for name in (*variables(), *TLS_ONLY)))
    done = config(env_file, *over)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)["services"]
    return found


@pytest.fixture(scope="module", params=["plain", "tls"])
def services(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    over = (TLS_FILE,) if request.param == "tls" else ()
    return read(tmp_path_factory.mktemp("env"), *over)


def test_who_is_waited_for_can_say_that_it_is_ready(services: dict[str, dict[str, Any]]) -> None:
    for name, each in services.items():
        for other, how in each.get("depends_on", {}).items():
            ends = other in (*ONCE, *ONCE_BEHIND_TLS)
            expected = "service_completed_successfully" if ends else "service_healthy"
            assert how["condition"] == expected, (name, other)
            assert ends or "healthcheck" in services[other], (name, other)
            asked = set(services[other].get("profiles", ()))
            assert asked <= set(each.get("profiles", ())), f"{name} waits for who is not started"


def test_health_is_asked_by_what_the_image_has(services: dict[str, dict[str, Any]]) -> None:
    for name, each in services.items():
        if "healthcheck" not in each:
            continue
        kind, *words = each["healthcheck"]["test"]
        text = " ".join(words)
        if kind == "CMD" and words[0] == "python":
            assert each["image"].startswith("ticklake"), name
            continue
        used = (
            {words[0]}
            if kind == "CMD"
            else set(re.findall(r"\b(curl|redis-cli|grep|find|test)\b", text))
        )
        assert used == PROGRAMS[name], name
        # by the address that it is reached at: an image may answer by its socket before it is ready
        assert name in ("flows", "backups", "redis") or "127.0.0.1" in text, name


def test_what_our_processes_are_told_is_read(services: dict[str, dict[str, Any]]) -> None:
    settings = {variable(each.name) for each in fields(Settings)}
    asked = Recorded()
    addresses.from_env(asked)
    beside = Recorded()
    remote.place_from(beside, "s3://backups/hot")
    own = {"BACKUP_PASSWORD", "TICKLAKE_BACKUP", "RESTORE_TO", "PGHOST"}
    for name, each in services.items():
        told = {one for one in each.get("environment") or {} if not NOT_OURS.match(one)}
        if each["image"].startswith("ticklake:") and name not in ONCE_BEHIND_TLS:
            unread = {one for one in told if not one.startswith(PREFIX)} - asked.names
            assert unread - {"PREFECT_HOME"} == set(), name
            assert {one for one in told if one.startswith(PREFIX)} <= settings, name
        elif each["image"].startswith("ticklake-backups:"):
            assert told - beside.names - own - {"TLS_CA"} == set(), name
            assert set(remote.WANTED) <= (each["environment"].keys() | {"PGHOST"}), name


class Recorded(dict[str, str]):
    """An environment in which everything is set, that knows what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        return self.get(name)

    def get(self, name: str, default: object = None) -> str:  # type: ignore[override]  # always set
        self.names.add(name)
        url = name.endswith(("URL", "URI", "ENDPOINT"))
        return "https://given:1" if url else f"given-{name.lower().replace('_', '-')}"


def test_every_variable_of_the_files_is_in_the_example_and_none_else() -> None:
    text = "\n".join(
        line
        for path in (FILE, TLS_FILE)
        for line in path.read_text().splitlines()
        if "#   " not in line
    )
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)", text)) - {"RESTORE_TO"}
    example = (INFRA / "env.example").read_text()
    said = set(re.findall(r"^#?([A-Z0-9_]+)=", example, re.MULTILINE))
    alike = {
        f"{role}_S3_{key}"
        for role in ("LAKE_WRITER", "INGEST", "VERIFIER", "SERVICE")
        for key in ("ACCESS_KEY", "SECRET_KEY")
    }
    assert "LAKE_WRITER, INGEST, VERIFIER, SERVICE likewise" in example
    assert asked - said - alike == set()
    assert said - asked == set()


def test_limits_together_fit_a_machine(services: dict[str, dict[str, Any]]) -> None:
    limits = [
        int(each["deploy"]["resources"]["limits"]["memory"])
        for name, each in services.items()
        if each["restart"] != "no"
    ]
    assert sum(limits) < MEMORY_BYTES_MAX
    (said,) = re.findall(r"come to (\d+) GiB", FILE.read_text())
    assert abs(int(said) - sum(limits) / (1 << 30)) < 1


def test_ports_are_each_one_s_own(services: dict[str, dict[str, Any]]) -> None:
    ports = [port["published"] for each in services.values() for port in each.get("ports", ())]
    assert len(ports) == len(set(ports))


def user_of(name: str, each: dict[str, Any]) -> str:
    """Return whom a service runs as: said here, by our Dockerfile, or root, as others begin."""
    if "user" in each:
        return str(each["user"])
    target = each.get("build", {}).get("target")
    if target:
        (stage,) = re.findall(rf" AS {target}\n(.*?)(?:\nFROM |\Z)", DOCKERFILE, re.DOTALL)
        (user,) = re.findall(r"^USER (\S+)$", stage, re.MULTILINE)
        return str(user)
    return "root"


def test_who_writes_to_a_volume_may(services: dict[str, dict[str, Any]]) -> None:
    for name, each in services.items():
        for mount in each.get("volumes", ()):
            if mount["type"] == "volume" and mount["source"] in USERS:
                assert user_of(name, each) in USERS[mount["source"]], (name, mount["source"])
    assert "install -d -o ticklake -g ticklake /var/lib/ticklake" in DOCKERFILE
    assert "--uid 70 --gid 70" in DOCKERFILE  # as postgres of the database's image, of Alpine


def options(words: list[str]) -> dict[str, str]:
    """Return what a command line of postgres sets."""
    return dict(word.split("=", 1) for flag, word in pairwise(words) if flag == "-c")


def test_the_database_archives_its_log_to_where_who_backs_up_looks(
    services: dict[str, dict[str, Any]],
) -> None:
    database = services["timescaledb"]
    said = options(database["command"])
    own = dict(timescale.LINE.findall((INFRA / "config" / "postgres.conf").read_text()))
    for name, value in archived_to(remote.SPOOL).items():
        assert said.get(name, own.get(name)) == value, name
    assert (
        f"install -d -o postgres -g postgres -m 700 /archive {remote.SPOOL}"
        in database["entrypoint"][2]
    )
    assert database["environment"]["PGDATA"] == str(remote.DATA)
    rules = {mount["target"]: mount["source"] for mount in database["volumes"]}[said["hba_file"]]
    lines = [line for line in Path(rules).read_text().splitlines() if f" {remote.COPIER} " in line]
    assert len(lines) == 1
    assert lines[0].split()[1:] == ["replication", remote.COPIER, "all", "scram-sha-256"]
    made = (INFRA / "config" / "postgres" / "roles.sh").read_text()
    assert f"CREATE ROLE {remote.COPIER} LOGIN REPLICATION PASSWORD" in made
    for name in set(re.findall(r'"\$(\w+)"', made)):
        assert name in database["environment"], name


def test_backups_are_on_unless_said_otherwise_and_all_speak_of_one_place(
    services: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    places = {
        name: each["environment"]["TICKLAKE_BACKUP"]
        for name, each in services.items()
        if "TICKLAKE_BACKUP" in (each.get("environment") or {})
    }
    assert places.keys() == {"set-up", "views", "backups", "restore"}
    assert set(places.values()) == {"s3://lake-backups/hot"}
    assert services["backups"]["command"] == [backups.__name__]
    assert services["restore"]["command"] == [restore.__name__]
    assert 'ENTRYPOINT ["python", "-m"]' in DOCKERFILE
    assert services["restore"]["profiles"] == services["recover"]["profiles"] == ["restore"]
    assert services["recover"]["image"] == services["timescaledb"]["image"]
    mounts = {mount["target"] for mount in services["restore"]["volumes"]}
    assert {
        str(remote.DATA.parent),
        str(remote.SPOOL.parent),
        str(restore.JOURNAL.parent),
    } <= mounts
