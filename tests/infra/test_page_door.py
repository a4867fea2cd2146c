"""Prefect and MLflow behind TLS: Docker starts them as the native stack does."""

from __future__ import annotations

import os
import re
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from feature_repo.models.registry_place import RegistryPlace, tell_mlflow
from infra.native import page_door, tls_folder, trino_door
from infra.servers.certificates import lay_out
from infra.servers.config_files import variables
from infra.servers.door import MADE, Door
from lake.clock import SystemClock
from lake.errors import BadInput
from tests.infra.manifests import INFRA, pods
from tests.infra.test_compose import TLS_FILE
from tests.infra.test_compose_links import read

PASSWORDS = {"prefect_page": "a", "mlflow_page": "b", page_door.MLFLOW_SECRET: "c"}
ORIGINS = "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return read(tmp_path_factory.mktemp("env"), TLS_FILE)


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """Return one whose certificate is for two names."""
    lay_out(tmp_path / "tls", ["lake.example.org", "::1"], MADE, SystemClock())
    return Door("0.0.0.0", tls=tmp_path / "tls")


def test_prefect_is_started_alike(services: dict[str, dict[str, Any]], door: Door) -> None:
    there = services["prefect"]
    here = [word.replace(str(door.tls), "/tls") for word in page_door.prefect_words(door)]
    assert sorted(["-m", *there["command"]]) == sorted([*here, "--port", "4200"])
    told = page_door.prefect_variables(door, PASSWORDS)
    assert told["PREFECT_SERVER_API_AUTH_STRING"] == "ticklake:a"
    assert told.keys() <= there["environment"].keys()


def test_mlflow_is_started_alike(
    services: dict[str, dict[str, Any]], door: Door, tmp_path: Path
) -> None:
    there = services["mlflow"]
    script = there["command"][2]
    for word in page_door.mlflow_words(door):
        assert word.replace(str(door.tls), "/tls") in script
    told = page_door.mlflow_variables(tmp_path, door, PASSWORDS)
    assert told.pop(ORIGINS) == "https://lake.example.org:*,https://[[]::1]:*"
    assert f"export {ORIGINS}=" in script
    assert told.keys() <= there["environment"].keys()
    assert (
        told["MLFLOW_SERVER_ALLOWED_HOSTS"] == there["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"]
    )


def test_on_kubernetes_both_are_started_as_in_docker(services: dict[str, dict[str, Any]]) -> None:
    (prefect,) = pods()["StatefulSet/prefect"]["spec"]["containers"]
    there = [word.replace("/tls/server.", "/tls/tls.") for word in services["prefect"]["command"]]
    assert prefect["args"] == there
    (mlflow,) = pods()["Deployment/mlflow"]["spec"]["containers"]
    said = services["mlflow"]["command"][2].replace("/tls/server.", "/tls/tls.").replace("$$", "$")
    lines = [line.strip() for line in said.splitlines() if "origins" not in line]
    assert [line.strip() for line in mlflow["command"][2].splitlines()] == lines
    for pod, name, own in (
        (prefect, "prefect", set()),
        (mlflow, "mlflow", {"MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"}),
    ):
        told = {each["name"] for each in pod["env"]}
        theirs = {
            each
            for each in services[name]["environment"]
            if re.match(r"PREFECT_|MLFLOW_(SERVER|AUTH|FLASK)", each)
        }
        assert theirs | own <= told | variables(INFRA / "config" / f"{name}.env").keys(), name
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert pod[probe]["httpGet"]["scheme"] == "HTTPS"


def test_mlflow_s_database_stands_in_a_file_of_its_owner_s(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    page_door.see_to_file(tmp_path, "postgresql+psycopg2://mlflow:a%40b@host:5432/mlflow")
    path = tmp_path / "run" / page_door.MLFLOW_AUTH
    assert path.stat().st_mode & 0o77 == 0
    found = ConfigParser()
    found.read(path)
    assert found["mlflow"]["database_uri"] == "postgresql+psycopg2://mlflow:a%40b@host:5432/mlflow"


def test_containers_have_a_certificate_for_every_name_that_they_go_by(tmp_path: Path) -> None:
    given, words = tmp_path / "given", {f"trino_{user}": "word" for user in trino_door.users()}
    names = ["trino", "prefect", "lake.example.org"]
    lay_out(given, ["trino", "*.example.org"], MADE, SystemClock())
    with pytest.raises(BadInput, match=r"server\.crt: is not for prefect, by which"):
        tls_folder.main(tmp_path / "tls", names, words, str(given), SystemClock())


def test_a_registry_is_not_told_another_s_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USERNAME", "PASSWORD", "SERVER_CERT_PATH"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    tell_mlflow(RegistryPlace("https://one", "", "/ca.crt", "ticklake", "word"))
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "word"
    tell_mlflow(RegistryPlace("http://two", ""))
    assert not [name for name in os.environ if name.startswith("MLFLOW_TRACKING_")]
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "the user's")
    tell_mlflow(RegistryPlace("http://two", ""))
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "the user's"
