"""infra/compose.yaml and infra/Dockerfile, checked by all that can be without Docker: the compose
program's own reading of it, hadolint, and the files and versions that they share with the native
stack. Nothing of it has been run by this suite."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import compose
import pytest
import yaml

from flows import serve
from flows.pool import POOL, POOL_WORD
from infra.command.main import ticklake
from infra.native import model_users, tls_folder, trino_part
from infra.servers.addresses import REQUIRED, from_env
from lake.clock import SystemClock
from lake.errors import BadInput
from tests.test_readme import parsed

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
FILE = INFRA / "compose.yaml"
DOCKERFILE = (INFRA / "Dockerfile").read_text()
COMPOSE = Path(compose.__file__).parent / "docker-compose"
TLS_FILE = INFRA / "compose.tls.yaml"
PAGES = ("PREFECT_PAGE_PASSWORD", "MLFLOW_PAGE_PASSWORD", "MLFLOW_SECRET")
TLS_ONLY = ("TLS_NAMES", "TRINO_PASSWORD", "TRINO_SECRET", *PAGES)
ONCE = {"set-up", "views", "restore", "recover"}
"""Services that end; the last two only where somebody asks for a restore."""

ONCE_BEHIND_TLS = ("certificates", "mlflow-users")
UPS = ("set-up", "views")
LOOPBACK = "127.0.0.1"
SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|_KEY$|DATABASE_CONNECTION_URL|STORE_URI")
OTHER_PROGRAMS = ("prefect-worker", "flows")
"""Of our image, but not the command."""

MAY_BE_EMPTY = {"TICKLAKE_MASSIVE_API_KEY", "AWS_ACCESS_KEY_ID"}
"""The second is the name of MLflow's user in MinIO, where it is not another store's key."""


def config(env_file: Path, *over: Path) -> subprocess.CompletedProcess[str]:
    """Let compose read the file, with those laid over it; it needs no daemon for that."""
    named = [word for path in (FILE, *over) for word in ("-f", str(path))]
    words = [str(COMPOSE), *named, "--env-file", str(env_file)]
    words += ["--profile", "watch", "--profile", "restore"]
    return subprocess.run(
        [*words, "config", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(env_file.parent)},
    )


def variables() -> list[str]:
    """Return the variables that the example leaves to the user."""
    return re.findall(r"^([A-Z0-9_]+)=$", (INFRA / "env.example").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the file as compose understands it, with every password set."""
    env_file = tmp_path_factory.mktemp("env") / ".env"
    env_file.write_text("".join(f"{name}=given-{name}\n" for name in variables()))
    done = config(env_file)
    assert done.returncode == 0, done.stderr
    return cast("dict[str, Any]", json.loads(done.stdout))


@pytest.fixture(scope="module")
def services(read: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return cast("dict[str, dict[str, Any]]", read["services"])


@pytest.fixture(scope="module")
def behind_tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return the services as they are for other machines."""
    env_file = tmp_path_factory.mktemp("env") / ".env"
    lines = [f"{name}=given-{name}\n" for name in (*variables(), *TLS_ONLY)]
    env_file.write_text("".join([*lines, "BIND_ADDRESS=0.0.0.0\n"]))
    done = config(env_file, TLS_FILE)
    assert done.returncode == 0, done.stderr
    return cast("dict[str, dict[str, Any]]", json.loads(done.stdout)["services"])


@pytest.mark.parametrize("missing", variables())
def test_without_any_one_password_compose_refuses_and_names_it(
    missing: str, tmp_path: Path
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("".join(f"{name}=x\n" for name in variables() if name != missing))
    done = config(env_file)
    assert done.returncode != 0
    assert f"{missing} is missing a value: set it in infra/.env" in done.stderr


def test_no_secret_stands_in_the_file() -> None:
    raw = yaml.safe_load(FILE.read_text())
    places = {"x-servers": raw["x-servers"]} | {
        name: each.get("environment") or {} for name, each in raw["services"].items()
    }
    written = [
        f"{place}.{name}"
        for place, found in places.items()
        for name, value in found.items()
        if SECRET.search(name)
        and name not in MAY_BE_EMPTY
        and not re.search(r"\$\{\w+:(\?|-\}$)", value)
    ]
    assert written == []


def test_ports_are_on_loopback_unless_said_otherwise(services: dict[str, dict[str, Any]]) -> None:
    ports = [port for each in services.values() for port in each.get("ports", ())]
    assert len(ports) >= 7
    assert {port["host_ip"] for port in ports} == {LOOPBACK}


def test_another_address_opens_nothing_that_asks_for_no_password(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    lines = [f"{name}=given-{name}\n" for name in variables()]
    env_file.write_text("".join([*lines, "BIND_ADDRESS=0.0.0.0\n"]))
    services = json.loads(config(env_file).stdout)["services"]
    ports = [port for each in services.values() for port in each.get("ports", ())]
    assert {port["host_ip"] for port in ports} == {LOOPBACK}


def waits_of(services: dict[str, dict[str, Any]], name: str) -> set[str]:
    """Return all that must be there before a service starts."""
    found: set[str] = set()
    left = list(services[name].get("depends_on", ()))
    while left:
        found.add(each := left.pop())
        left += [more for more in services[each].get("depends_on", ()) if more not in found]
    return found


def test_who_asks_a_server_while_it_starts_is_started_after_it(
    services: dict[str, dict[str, Any]], behind_tls: dict[str, dict[str, Any]]
) -> None:
    for each in (services, behind_tls):
        stores = {"timescaledb", "minio", "redis"}
        assert stores <= waits_of(each, "set-up")
        assert {"set-up", "trino"} <= waits_of(each, "views")
        assert "--no-views" in each["set-up"]["command"]
        assert "--no-views" not in each["views"]["command"]
        assert "views" in waits_of(each, "flows") & waits_of(each, "prefect-worker")
        for name in ("ingest", "live", "metrics"):  # a Trino that is away holds none of them up
            assert "trino" not in waits_of(each, name)
        assert not [name for name in each if name in waits_of(each, name)]


def test_every_service_has_limits_health_and_a_pinned_image(
    services: dict[str, dict[str, Any]],
) -> None:
    for name, each in services.items():
        assert {"cpus", "memory"} <= each["deploy"]["resources"]["limits"].keys(), name
        assert ("healthcheck" in each) == (name not in ONCE), name
        assert each["restart"] == ("no" if name in ONCE else "unless-stopped"), name
        assert re.search(r":[\w.-]*\d[\w.-]*$", each["image"]), name
        assert "latest" not in each["image"], name


def test_every_mounted_file_is_there(services: dict[str, dict[str, Any]]) -> None:
    mounts = [m for each in services.values() for m in each.get("volumes", ())]
    files = [Path(mount["source"]) for mount in mounts if mount["type"] == "bind"]
    assert len(files) >= 7
    assert [str(path) for path in files if not path.exists()] == []
    assert all(mount.get("read_only") for mount in mounts if mount["type"] == "bind")


def mounted(path: Path, text: str) -> bool:
    """Tell whether a file, or a folder that it is in, is named in the compose file."""
    inside = path.relative_to(INFRA / "config")
    places = [inside, *list(inside.parents)[:-1]]
    return any(re.search(rf"\./config/{re.escape(str(each))}[:\]]", text) for each in places)


def test_every_configuration_file_of_the_native_stack_is_used(
    services: dict[str, dict[str, Any]],
) -> None:
    text = FILE.read_text() + TLS_FILE.read_text()
    files = [path for path in (INFRA / "config").rglob("*") if path.is_file()]
    unused = [str(path) for path in files if not mounted(path, text)]
    assert unused == []
    assert "trino" in services


def test_trino_is_told_what_its_files_ask_for_and_nothing_else(
    services: dict[str, dict[str, Any]], behind_tls: dict[str, dict[str, Any]]
) -> None:
    files = [path for path in (INFRA / "config" / "trino").rglob("*") if path.is_file()]
    asked = {path.name: set(re.findall(r"\$\{ENV:(\w+)\}", path.read_text())) for path in files}
    assert set().union(*asked.values()) == behind_tls["trino"]["environment"].keys()
    for name in ("tls.properties", "password-authenticator.properties"):
        del asked[name]
    assert set().union(*asked.values()) == services["trino"]["environment"].keys()
    nodes = (INFRA / "config" / "trino" / "node.properties").read_text()
    names = re.findall(r"^(node\.[\w-]+)=", nodes, re.MULTILINE)
    words = " ".join(services["trino"]["entrypoint"])
    assert [name for name in names if f"-D{name}=" not in words] == []


def test_versions_are_those_of_the_native_stack(services: dict[str, dict[str, Any]]) -> None:
    assert services["trino"]["image"] == f"trinodb/trino:{trino_part.VERSION}"
    assert services["timescaledb"]["image"].endswith("-pg17")
    servers = (INFRA / "native" / "servers.txt").read_text()
    for part in ("prefect", "mlflow"):
        assert re.search(rf"^{part}==", servers, re.MULTILINE)
        assert services[part]["build"]["target"] == "servers"
    assert "COPY infra/native/servers.txt" in DOCKERFILE


def test_what_the_given_profile_needs_is_given(services: dict[str, dict[str, Any]]) -> None:
    for once in UPS:
        environment = services[once]["environment"]
        assert [name for name in REQUIRED if not environment.get(name)] == []


def test_the_orders_are_anchored_in_a_bucket_of_their_own(
    services: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    for name in ("set-up", "views", "flows", "prefect-worker"):
        environment = services[name]["environment"]
        assert environment["TICKLAKE_LEDGER_PLACE"] == "s3://lake-ledger/orders"
        assert environment["TICKLAKE_LEDGER_KEY"] == ""  # that of the volume, which they share
    env_file = tmp_path / ".env"
    lines = [f"{name}=given\n" for name in variables()]
    env_file.write_text("".join([*lines, "S3_BUCKET=mine\n", "TICKLAKE_LEDGER_KEY=/keys/k.pem\n"]))
    found = json.loads(config(env_file).stdout)["services"]["prefect-worker"]["environment"]
    assert found["TICKLAKE_LEDGER_PLACE"] == "s3://mine-ledger/orders"
    assert found["TICKLAKE_LEDGER_KEY"] == "/keys/k.pem"


def test_every_command_of_ours_is_one(services: dict[str, dict[str, Any]]) -> None:
    ours = {name: each for name, each in services.items() if each["image"].startswith("ticklake:")}
    assert {"set-up", "ingest", "metrics", "exchange", "live"} <= ours.keys()
    for name, each in ours.items():
        if name not in OTHER_PROGRAMS:
            parsed(ticklake, list(each["command"]))


def test_strategies_and_limits_of_live_orders_can_be_named(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    lines = [f"{name}=given\n" for name in variables()]
    given = ["LIVE_ARGS=--strategy buy-and-hold:size=0.1\n", "TICKLAKE_LIMITS=daily_loss=5000\n"]
    env_file.write_text("".join([*lines, *given]))
    live = json.loads(config(env_file).stdout)["services"]["live"]
    parsed(ticklake, live["command"])
    assert live["command"][-2:] == ["--strategy", "buy-and-hold:size=0.1"]
    assert live["environment"]["TICKLAKE_LIMITS"] == "daily_loss=5000"


def test_the_flows_are_in_the_image_of_those_who_run_them(
    services: dict[str, dict[str, Any]],
) -> None:
    assert "COPY flows flows" in DOCKERFILE
    assert services["flows"]["entrypoint"][:3] == ["python", "-m", serve.__name__]
    assert services["flows"]["command"] == [POOL_WORD]
    words = services["prefect-worker"]["entrypoint"]
    assert words[words.index("--pool") + 1] == POOL
    for name in OTHER_PROGRAMS:
        assert services[name]["image"].startswith("ticklake:")
        assert services[name]["environment"]["PREFECT_API_URL"]


def test_our_processes_can_change_nothing_but_their_home(
    services: dict[str, dict[str, Any]],
) -> None:
    for each in services.values():
        if each["image"].startswith("ticklake:"):
            assert each["read_only"]
            assert each["cap_drop"] == ["ALL"]
            assert [mount["target"] for mount in each["volumes"]] == ["/var/lib/ticklake"]


def test_the_dockerfile_is_clean() -> None:
    hadolint = Path(sys.prefix) / "bin" / "hadolint"
    done = subprocess.run(
        [str(hadolint), str(INFRA / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_images_hold_what_they_need_and_run_as_nobody_in_particular() -> None:
    ignored = (INFRA / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
        assert f"!{name.split('/')[0]}" in ignored, name
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    final = [stage for stage in stages if re.match(r"\S+ AS (ticklake|servers|backups)\n", stage)]
    assert len(final) == 3
    for stage in final:
        user = "70:70" if " AS backups\n" in stage else "10001:10001"
        assert f"\nUSER {user}\n" in stage


@pytest.mark.parametrize("missing", TLS_ONLY)
def test_behind_tls_more_is_asked_for(missing: str, tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    names = [name for name in (*variables(), *TLS_ONLY) if name != missing]
    env_file.write_text("".join(f"{name}=x\n" for name in names))
    done = config(env_file, TLS_FILE)
    assert done.returncode != 0
    assert f"{missing} is missing a value" in done.stderr


def test_what_other_machines_reach_asks_for_a_password_by_tls(
    behind_tls: dict[str, dict[str, Any]],
) -> None:
    ports = {
        name: {port["host_ip"] for port in each.get("ports", ())}
        for name, each in behind_tls.items()
    }
    beyond = {name for name, hosts in ports.items() if hosts - {LOOPBACK}}
    assert beyond == {"timescaledb", "minio", "redis", "trino", "prefect", "mlflow", "live"}
    for name in beyond:
        assert behind_tls[name]["depends_on"]["certificates"], name
        assert "/tls" in {mount["target"] for mount in behind_tls[name]["volumes"]}, name
    assert behind_tls["trino"]["environment"]["S3_ENDPOINT"] == "https://minio:9000"
    for name in ("set-up", "views", "flows", "prefect-worker"):
        given = behind_tls[name]["environment"]
        assert (given["TRINO_URL"], given["S3_ENDPOINT"]) == (
            "https://trino:8443",
            "https://minio:9000",
        )
        ca = given["TLS_CA"]
        assert ca == "/etc/ticklake/trust/ca.crt"
        state = from_env(given)
        assert state["prefect"] == {
            "url": "https://prefect:4200/api",
            "ca": ca,
            "login": "ticklake:given-PREFECT_PAGE_PASSWORD",
        }
        assert state["mlflow"] == {
            "url": "https://mlflow:5000",
            "ca": ca,
            "user": "ticklake",
            "password": "given-MLFLOW_PAGE_PASSWORD",
        }
    _, users = model_users.from_env(behind_tls["mlflow-users"]["environment"])
    assert users[state["mlflow"]["user"]] == state["mlflow"]["password"]
    for name in ("backups", "restore"):
        given = behind_tls[name]["environment"]
        assert (given["S3_ENDPOINT"], given["PGSSLMODE"]) == ("https://minio:9000", "verify-full")
    readers = {
        name for name, each in behind_tls.items() if "TLS_CA" in (each.get("environment") or {})
    }
    for name in readers | {"ingest", "metrics", "prefect", "mlflow", "live"}:
        mounts = {mount["target"] for mount in behind_tls[name]["volumes"]}
        assert "/etc/ticklake/trust" in mounts, name
        assert name in beyond or "/tls" not in mounts, name
    assert behind_tls["live"]["environment"]["TICKLAKE_SERVICE_TLS"] == "/tls"


def test_the_folder_of_certificates_has_what_the_services_are_told(
    behind_tls: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """The program that the service runs, here."""
    service = behind_tls["certificates"]
    assert service["entrypoint"][:3] == ["python", "-m", "infra.native.tls_folder"]
    folder = tmp_path / "tls"
    given = tls_folder.from_env(service["environment"])
    tls_folder.main(folder, service["command"], *given, SystemClock())
    text = json.dumps(behind_tls)
    for name in re.findall(r"/tls/([\w./-]+\w)", text):
        assert (folder / name).exists(), name
    words = (folder / "run" / "trino-passwords").read_text().splitlines()
    assert {word.partition(":")[0] for word in words} == {
        *("ticklake", "analyst", "researcher", "operator", "service")
    }
    assert "given-" not in "".join(words)
    assert sorted(path.name for path in (folder / "trust").iterdir()) == ["ca.crt", "trust.p12"]
    with pytest.raises(BadInput, match="ANALYST_PASSWORD: is not set"):
        tls_folder.from_env({**service["environment"], "ANALYST_PASSWORD": ""})
