"""Prefect and MLflow behind TLS: their pages and APIs ask for a name and a password.

Without TLS neither asks, and both stay on loopback.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from infra.servers.certificates import certified_names
from infra.servers.door import Door
from lake.state import write_closed

USER = "ticklake"
PREFECT_APP = "prefect.server.api.server:create_app"
MLFLOW_AUTH = "mlflow-auth.ini"
MLFLOW_SECRET = "mlflow_secret"
"""Name of what MLflow signs its forms with, among a home's passwords."""


def password_name(server: str) -> str:
    """Return the name of a server's password among a home's."""
    return f"{server}_page"


def prefect_login(passwords: Mapping[str, str]) -> str:
    """Return how one comes into Prefect, in its own form."""
    return f"{USER}:{passwords[password_name('prefect')]}"


def mlflow_login(passwords: Mapping[str, str]) -> dict[str, str]:
    """Return how one comes into MLflow."""
    return {"user": USER, "password": passwords[password_name("mlflow")]}


def prefect_words(door: Door) -> list[str]:
    """Return how Prefect's server is started, as it starts itself in the background, less the port.

    Its own command has no word for a certificate.
    """
    words = ["-m", "uvicorn", "--factory", PREFECT_APP, "--log-level", "warning"]
    return [*words, "--host", door.listen, *_certificate(door)]


def prefect_variables(door: Door, passwords: Mapping[str, str]) -> dict[str, str]:
    """Return what Prefect's server asks for; its page asks the host that it came from."""
    final = {"PREFECT__SERVER_FINAL": "1", "PREFECT_UI_API_URL": "/api"}
    if not door.tls:
        return final
    return final | {"PREFECT_SERVER_API_AUTH_STRING": prefect_login(passwords)}


def mlflow_words(door: Door) -> list[str]:
    """Return what MLflow's server is told beside its address."""
    if not door.tls:
        return []
    return ["--app-name", "basic-auth", "--uvicorn-opts", shlex.join(_certificate(door))]


def mlflow_variables(home: Path, door: Door, passwords: Mapping[str, str]) -> dict[str, str]:
    """Return what MLflow's server asks for; its page takes forms under the certificate's names."""
    if not door.tls:
        return {}
    origins = [f"https://{_host(name)}:*" for name in certified_names(door.certificate)]
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(home / "run" / MLFLOW_AUTH),
        "MLFLOW_AUTH_ADMIN_USERNAME": USER,
        "MLFLOW_AUTH_ADMIN_PASSWORD": passwords[password_name("mlflow")],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": passwords[MLFLOW_SECRET],
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",  # under another name no browser believes it
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins),
    }


def see_to_file(home: Path, database: str) -> None:
    """Write where MLflow keeps its users, and that each other of them may read what is there.

    database: its address for SQLAlchemy, with a password.
    """
    said = {"default_permission": "READ", "database_uri": database.replace("%", "%%")}
    lines = "".join(f"{name} = {value}\n" for name, value in said.items())
    write_closed(home / "run" / MLFLOW_AUTH, f"[mlflow]\n{lines}")


def _certificate(door: Door) -> list[str]:
    if not door.tls:
        return []
    return ["--ssl-certfile", str(door.certificate), "--ssl-keyfile", str(door.key)]


def _host(name: str) -> str:
    """Return a name as it stands before a port, in a pattern of fnmatch."""
    return f"[[]{name}]" if ":" in name else name
