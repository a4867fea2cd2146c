"""Where a home's models are kept: MLflow's server of its profile, or a file of the home."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from lake.state import read_state

FOLDER = "mlflow"
"""What a home holds of models where no server does."""

ANSWER_S_MAX = 5.0

TOLD = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
}
"""What MLflow's client is told unless the environment does. It tells its makers of its use from its
import on; it tries a dead server for minutes; its progress bars and addresses are in the way of
what we say; it goes past the server to the store, whose certificate it may not know."""


_SET: dict[str, str] = {}
"""What of this process's environment is ours, so that no place is told another's password."""


@dataclass(frozen=True, slots=True)
class RegistryPlace:
    """tracking: MLflow's URI; artifacts: where files go, "" where the server says.

    ca: file of who vouches for the server; user, password: its login; "" where it asks for none.
    """

    tracking: str
    artifacts: str
    ca: str = ""
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def words(self) -> str:
        """Return what to call it."""
        return f"MLflow at {self.tracking}"


def has_registry(home: Path) -> bool:
    """Tell whether a home has a registry, without making one."""
    return "mlflow" in read_state(home) or (home / FOLDER / "mlflow.db").is_file()


def registry_place(home: Path) -> RegistryPlace:
    """Return a home's registry: the server of its profile, else a file of the home."""
    server = read_state(home).get("mlflow", {})
    if isinstance(server.get("url"), str):
        ways = {name: str(server.get(name, "")) for name in ("ca", "user", "password")}
        return RegistryPlace(server["url"], "", **ways)
    folder = (home / FOLDER).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return RegistryPlace(f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri())


def tell_mlflow(place: RegistryPlace) -> None:
    """Tell MLflow's client how to behave, and how to come in: its environment is all it reads."""
    for name, value in TOLD.items():
        os.environ.setdefault(name, value)
    ways = {
        "MLFLOW_TRACKING_SERVER_CERT_PATH": place.ca,
        "MLFLOW_TRACKING_USERNAME": place.user,
        "MLFLOW_TRACKING_PASSWORD": place.password,
    }
    for name, value in ways.items():
        if value:
            os.environ[name] = _SET[name] = value
        elif name in _SET and os.environ.get(name) == _SET.pop(name):
            del os.environ[name]  # of another place, and not for this one


def see_it_answers(place: RegistryPlace) -> None:
    """Raise httpx.HTTPError where a server does not say that it is well."""
    if place.tracking.startswith("http"):
        trusting = ssl.create_default_context(cafile=place.ca) if place.ca else True
        url = f"{place.tracking}/health"
        httpx.get(url, timeout=ANSWER_S_MAX, verify=trusting).raise_for_status()
