"""How the stack's servers that answer over HTTP are started.

What is the same in every firm is in infra/config; what differs by home goes into the environment,
under the names that infra/compose.yaml sets too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from flows.pool import POOL
from infra.native import page_door, trino_door
from infra.native.software import Software
from infra.native.tools import Tool
from infra.servers import at_rest, store_users
from infra.servers.buckets import Buckets
from infra.servers.config_files import CONFIG, lines, variables
from infra.servers.door import LOCAL, Door
from infra.servers.flow_servers import client_variables, trusted_files
from infra.servers.ports import LOOPBACK
from infra.servers.postgres_files import DATABASE
from infra.servers.web_server import Kind, Plan
from lake.errors import Unavailable
from lake.roles import database_role

REGION = "us-east-1"
S3_USER = "ticklake"
PREFECT = "prefect"
MLFLOW = "mlflow"
WORKER = "worker"
RUNS_AT_ONCE_MAX = 4
CATALOG_ROLES = ("analyst", "researcher", "operator")


@dataclass(frozen=True)
class Wiring:
    """What servers must know of one another: ports, and passwords by name."""

    software: Software
    home: Path
    postgres_port: int
    minio_port: int
    passwords: Mapping[str, str]
    buckets: Buckets
    door: Door = LOCAL

    @property
    def s3(self) -> str:
        """Return the S3 store's address."""
        return f"{self.door.http}://{self.door.name}:{self.minio_port}"

    @property
    def models_database(self) -> str:
        """Return the address of MLflow's database, as it reads it."""
        return self.dsn("postgresql+psycopg2", MLFLOW)

    @property
    def certificates(self) -> tuple[Path, ...]:
        """Return the file of which a server reads its certificate, where it has one."""
        return (self.door.certificate,) if self.door.tls else ()

    def dsn(self, scheme: str, owner: str) -> str:
        """Return the address of the database that belongs to an owner of the same name."""
        password = self.passwords[owner]
        return f"{scheme}://{owner}:{password}@{self.door.name}:{self.postgres_port}/{owner}"

    @property
    def trusting(self) -> dict[str, str]:
        """Return the variables by which libpq, asyncpg and boto3 come in by TLS."""
        if not self.door.tls:
            return {}
        ca = str(self.door.ca)
        return {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": ca, "AWS_CA_BUNDLE": ca}


def kinds(software: Software) -> dict[str, Kind]:
    """Return the kinds of server, by name."""

    def version(part: str, program: str) -> Callable[[], str]:
        return lambda: software.version(part, program)

    return {
        "minio": Kind("minio", "server", "/minio/health/live", b"", version("minio", "minio")),
        "trino": Kind(
            "trino",
            "io.trino.server.TrinoServer",
            "/v1/info",
            b'"starting":false',
            version("trino", "trino"),
        ),
        "prefect": Kind(
            *("prefect", page_door.PREFECT_APP, "/api/health", b"true"),
            version("python", "prefect"),
        ),
        # of our own environment: it runs our flows
        WORKER: Kind(WORKER, WORKER, "/health", b"OK", lambda: installed("prefect")),
        "mlflow": Kind("mlflow", "mlflow", "/health", b"OK", version("python", "mlflow")),
    }


def minio(software: Software, home: Path, password: str, door: Door) -> Callable[[int], Plan]:
    """Return how MinIO is started; its folder is one drive, without erasure coding."""
    words = [str(software.minio), "server", "--quiet", "--address"]
    secrets = {"MINIO_ROOT_USER": S3_USER, "MINIO_ROOT_PASSWORD": password}
    environment = variables(CONFIG / "minio.env") | secrets | at_rest.variables_of(home)
    folder = str(home / "minio")
    certificates = [door.tls / "minio" / "public.crt"] if door.tls else []
    tls = [part for path in certificates for part in ("--certs-dir", str(path.parent))]
    return lambda port: Plan(
        (*words, f"{door.listen}:{port}", *tls, folder), environment, tuple(certificates)
    )


def trino(wiring: Wiring) -> Callable[[int], Plan]:
    """Return how Trino is started: by its own class, without the launcher that would hide it."""
    config, software = CONFIG / "trino", wiring.software
    files = tuple(sorted(path for path in config.rglob("*") if path.is_file()))
    data, door = str(wiring.home / "trino"), wiring.door
    settings = config / "config.properties"
    if door.tls:
        settings = wiring.home / "run" / trino_door.SETTINGS
        files += (door.certificate, settings, settings.with_name(trino_door.PASSWORDS))

    def plan(port: int) -> Plan:
        environment = {
            "TRINO_PORT": str(port),
            "TRINO_ADDRESS": door.name,
            "TRINO_LISTEN": door.listen,
            "TRINO_DATA": data,
            "TRINO_CONFIG": str(config),
            "TRINO_CATALOGS": str(config / "catalog"),
            "TRINO_PLUGINS": str(software.trino / "plugin"),
            "POSTGRES_HOST": door.name,
            "POSTGRES_PORT": str(wiring.postgres_port),
            "POSTGRES_DB": DATABASE,
            "S3_ENDPOINT": wiring.s3,
            "S3_REGION": REGION,
            "S3_BUCKET": wiring.buckets.lake,
            **catalog_variables(wiring.passwords),
            **trino_door.variables(wiring.home, door, wiring.passwords),
        }
        words = [
            *java(software).words,
            *lines(config / "jvm.config"),
            *(f"-D{line}" for line in filled(config / "node.properties", environment)),
            *trino_door.java_words(door),
            f"-Dconfig={settings}",
            f"-Dlog.levels-file={config / 'log.properties'}",
            *("-cp", f"{software.trino}/lib/*", "io.trino.server.TrinoServer"),
        ]
        return Plan(tuple(words), environment, files)

    return plan


def catalog_variables(passwords: Mapping[str, str]) -> dict[str, str]:
    """Return what Trino's catalogs connect with: each as the role that it serves."""
    found: dict[str, str] = {}
    for role in CATALOG_ROLES:
        login, key = database_role(role), store_users.key_name(role)
        found |= {
            f"{role.upper()}_POSTGRES_USER": login,
            f"{role.upper()}_POSTGRES_PASSWORD": passwords[login],
            f"{role.upper()}_S3_USER": role,
            f"{role.upper()}_S3_SECRET_KEY": passwords[key],
        }
    return found


def prefect(wiring: Wiring) -> Callable[[int], Plan]:
    """Return how Prefect's server is started: with its schedules, on its own database."""
    words = (str(wiring.software.python), *page_door.prefect_words(wiring.door), "--port")
    environment = variables(CONFIG / "prefect.env") | {
        "PREFECT_HOME": str(wiring.home / "prefect"),
        "PREFECT_API_DATABASE_CONNECTION_URL": wiring.dsn("postgresql+asyncpg", PREFECT),
        **page_door.prefect_variables(wiring.door, wiring.passwords),
        **wiring.trusting,
    }
    files = wiring.certificates
    return lambda port: Plan((*words, str(port)), environment, files)


def worker(wiring: Wiring, prefect: Mapping[str, Any]) -> Callable[[int], Plan]:
    """Return how the worker of the work pool is started; it makes the pool where there is none.

    prefect: the server, as the home's state has it.
    """
    words = ["-m", "prefect", "--no-prompt", "worker", "start", "--pool", POOL, "--type", "process"]
    words += ["--limit", str(RUNS_AT_ONCE_MAX), "--install-policy", "never", "--with-healthcheck"]
    environment = variables(CONFIG / "prefect.env") | {
        "PREFECT_HOME": str(wiring.home / WORKER),
        **client_variables(prefect),
        "PREFECT_WORKER_WEBSERVER_HOST": LOOPBACK,
        "TICKLAKE_HOME": str(wiring.home),
    }
    files = trusted_files(prefect)
    return lambda port: Plan(
        (sys.executable, *words), environment | {"PREFECT_WORKER_WEBSERVER_PORT": str(port)}, files
    )


def mlflow(wiring: Wiring) -> Callable[[int], Plan]:
    """Return how MLflow's server is started; clients need no key of the S3 store behind it."""
    door = wiring.door
    words = [str(wiring.software.python), "-m", "mlflow", "server", "--workers", "1"]
    words += [*page_door.mlflow_words(door), "--host", door.listen, "--port"]
    environment = variables(CONFIG / "mlflow.env") | {
        "MLFLOW_BACKEND_STORE_URI": wiring.models_database,
        "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{wiring.buckets.models}",
        "MLFLOW_S3_ENDPOINT_URL": wiring.s3,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": store_users.MLFLOW,
        "AWS_SECRET_ACCESS_KEY": wiring.passwords[store_users.key_name(store_users.MLFLOW)],
        **page_door.mlflow_variables(wiring.home, door, wiring.passwords),
        **wiring.trusting,
    }
    return lambda port: Plan((*words, str(port)), environment, wiring.certificates)


def java(software: Software) -> Tool:
    """Return the Java that was found or installed; Unavailable when it has gone."""
    note = software.installed("java")
    program = Path(note.paths["java"])
    if not program.exists():
        raise Unavailable(str(program), "no longer there", "find another one with: make stack")
    if program.is_relative_to(software.usr):
        inside = Path("/usr") / program.relative_to(software.usr)
        return Tool(str(inside), note.versions["java"], software.usr)
    return Tool(str(program), note.versions["java"], None)


def filled(path: Path, environment: Mapping[str, str]) -> list[str]:
    """Return the lines of a properties file, its ${ENV:NAME} replaced."""
    found = lines(path)
    for name, value in environment.items():
        found = [line.replace(f"${{ENV:{name}}}", value) for line in found]
    return found
