"""infra/kubernetes, checked without a cluster: schemas, references, and what is asked for by whom.

No package carries the schemas of CloudNativePG's custom resources; their kinds and KEDA's are named
below, and ARCHITECTURE.md says by which definitions they were checked by hand."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from infra.cluster import replicas
from infra.command.main import ticklake
from infra.servers.addresses import REQUIRED
from infra.watch.metrics import BY_NAME
from lake.audit.signing import public_path
from lake.hot.recovery import OTHERS
from tests.infra.manifests import INFRA, containers, documents, everywhere, named, pods
from tests.test_readme import parsed

VERSION = "1.33"
CUSTOM = {
    ("postgresql.cnpg.io/v1", "Cluster"),
    ("postgresql.cnpg.io/v1", "ScheduledBackup"),
    ("keda.sh/v1alpha1", "ScaledObject"),
}
SECRETS = {
    "hot-app",  # made by CloudNativePG
    *re.findall(
        r"^#   (ticklake-[\w-]+) ", (INFRA / "kustomization.yaml").read_text(), re.MULTILINE
    ),
}
OF_ROLE = {"POSTGRES_HOST", "REDIS_HOST", "REDIS_PASSWORD", "S3_ENDPOINT", "SERVICE_PASSWORD"}
"""What a home of the role service alone needs; its keys in the store may be MinIO's."""

KUSTOMIZATION = yaml.safe_load((INFRA / "kustomization.yaml").read_text())


@pytest.mark.parametrize("document", list(documents()), ids=named)
def test_every_object_fits_its_schema(document: dict[str, Any]) -> None:
    if (document["apiVersion"], document["kind"]) not in CUSTOM:
        kubernetes_validate.validate(document, VERSION, strict=True)


def test_everything_is_applied_and_every_file_is_there() -> None:
    listed = set(KUSTOMIZATION["resources"])
    assert listed == {f"kubernetes/{path.name}" for path in (INFRA / "kubernetes").glob("*.yaml")}
    for each in KUSTOMIZATION["configMapGenerator"]:
        for file in (*each.get("files", ()), *each.get("envs", ())):
            assert (INFRA / file.rpartition("=")[2]).is_file(), file


def test_secrets_are_references_to_those_that_are_named() -> None:
    assert [named(each) for each in documents() if each["kind"] == "Secret"] == []
    asked = {each["name"] for each in everywhere(list(documents()), "secretKeyRef")}
    asked |= set(everywhere(list(documents()), "secretName"))
    for key in ("passwordSecret", "accessKeyId", "secretAccessKey"):
        asked |= {each["name"] for each in everywhere(list(documents()), key)}
    assert asked == SECRETS


def test_config_maps_that_are_asked_for_are_made() -> None:
    made = {each["name"] for each in KUSTOMIZATION["configMapGenerator"]}
    made |= {each["metadata"]["name"] for each in documents() if each["kind"] == "ConfigMap"}
    refs = [
        *everywhere(list(documents()), "configMapRef"),
        *everywhere(list(documents()), "configMap"),
    ]
    refs += everywhere(list(documents()), "configMapKeyRef")
    assert {each["name"] for each in refs} <= made


@pytest.mark.parametrize("name", pods())
def test_every_pod_is_closed_bounded_and_probed(name: str) -> None:
    template = pods()[name]
    assert template["spec"]["securityContext"]["runAsNonRoot"]
    for each in containers(template):
        context = each["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert context["capabilities"]["drop"] == ["ALL"]
        assert {"cpu", "memory"} <= each["resources"]["limits"].keys()
        assert re.search(r":[\w.-]*\d", each["image"])
    if not name.startswith("Job/"):
        main = template["spec"]["containers"][0]
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= main.keys()


def test_what_the_given_profile_needs_is_given_wherever_it_starts() -> None:
    maps = {
        each["metadata"]["name"]: each["data"]
        for each in documents()
        if each["kind"] == "ConfigMap"
    }
    starting = [
        each
        for template in pods().values()
        for each in containers(template)
        if each.get("args", [])[:1] == ["up"]
    ]
    assert len(starting) == 6
    for each in starting:
        given = {
            name
            for source in each["envFrom"]
            if "configMapRef" in source  # the other is of keys that need not be there
            for name in maps[source["configMapRef"]["name"]]
        }
        given |= {one["name"] for one in each["env"]}
        assert (OF_ROLE if "--role" in each["args"] else {*REQUIRED}) <= given
        parsed(ticklake, each["args"])


def test_the_live_half_is_given_no_password_but_the_service_s() -> None:
    template = pods()["StatefulSet/live"]
    asked = {(each["name"], each["key"]) for each in everywhere(template["spec"], "secretKeyRef")}
    keys = {("ticklake-s3-roles", f"SERVICE_S3_{key}") for key in ("ACCESS_KEY", "SECRET_KEY")}
    assert asked == {("ticklake-roles", "service"), ("ticklake-redis", "password"), *keys}
    assert list(everywhere(template["spec"], "secretRef")) == []


def test_trino_is_told_all_that_its_files_ask_for() -> None:
    listed = {
        file for each in KUSTOMIZATION["configMapGenerator"] for file in each.get("files", ())
    }
    files = [*(INFRA / "config" / "trino" / "catalog").iterdir()]
    assert {f"config/trino/catalog/{file.name}" for file in files} <= listed
    assert {"config/trino/access-control.properties", "config/trino/rules.json"} <= listed
    servers = next(each for each in documents() if named(each) == "ConfigMap/servers")
    for role in ("coordinator", "worker"):
        own = [INFRA / "kubernetes" / f"trino-{role}.properties"]
        if role == "coordinator":
            own += [INFRA / "config" / "trino" / "password-authenticator.properties"]
            assert str(own[1].relative_to(INFRA)) in listed
        words = [file.read_text() for file in (*files, *own)]
        asked = {name for text in words for name in re.findall(r"\$\{ENV:(\w+)\}", text)}
        (trino,) = pods()[f"Deployment/trino-{role}"]["spec"]["containers"]
        assert asked <= servers["data"].keys() | {each["name"] for each in trino["env"]}
        assert f"-Dconfig=/etc/ticklake/trino/{role}.properties" in trino["command"][-1]
        assert f"{role}.properties=kubernetes/trino-{role}.properties" in listed


def test_the_hot_tier_is_backed_up_for_longer_than_the_window_that_is_kept() -> None:
    (cluster,) = (each for each in documents() if each["kind"] == "Cluster")
    (daily,) = (each for each in documents() if each["kind"] == "ScheduledBackup")
    assert daily["spec"]["cluster"]["name"] == cluster["metadata"]["name"]
    servers = next(each for each in documents() if named(each) == "ConfigMap/servers")["data"]
    assert servers["TICKLAKE_BACKUP"] == OTHERS
    days = int(cluster["spec"]["backup"]["retentionPolicy"].removesuffix("d"))
    assert days * 24 > int(servers["TICKLAKE_RECOVERY_HOURS"])
    assert "barmanObjectStore" in cluster["spec"]["backup"]


def test_the_orders_are_anchored_where_no_pod_takes_anything_with_it() -> None:
    servers = next(each for each in documents() if named(each) == "ConfigMap/servers")["data"]
    place = servers["TICKLAKE_LEDGER_PLACE"]
    assert place.startswith("s3://")
    assert place.split("/")[2] not in (servers["S3_BUCKET"], servers["S3_MODELS_BUCKET"])
    worker = pods()["Deployment/prefect-worker"]["spec"]
    (main,) = worker["containers"]
    assert {"configMapRef": {"name": "servers"}} in main["envFrom"]
    (key,) = (each["value"] for each in main["env"] if each["name"] == "TICKLAKE_LEDGER_KEY")
    (mount,) = (each for each in main["volumeMounts"] if each["name"] == "ledger")
    assert Path(key).parent == Path(mount["mountPath"])
    (volume,) = (each for each in worker["volumes"] if each["name"] == "ledger")
    assert volume["secret"]["secretName"] == "ticklake-ledger"
    said = (INFRA / "kustomization.yaml").read_text()
    assert f"{Path(key).name}, {public_path(Path(key)).name}" in said


def test_scaling_goes_by_metrics_that_exist() -> None:
    triggers = [each for found in everywhere(list(documents()), "triggers") for each in found]
    queries = [each["metadata"]["query"] for each in triggers]
    found = {name for query in queries for name in re.findall(r"ticklake_\w+", query)}
    assert found
    assert found <= BY_NAME.keys()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the address of something that answers as the cluster's API does, and its answer."""
    answer: dict[str, Any] = {"spec": {"replicas": 3}}

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer["path"], answer["token"] = self.path, self.headers["Authorization"]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, format: str, *args: object) -> None:
            return

    (tmp_path / "namespace").write_text("ticklake")
    (tmp_path / "token").write_text("let-me-in\n")
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", answer
        server.shutdown()
        thread.join()


def test_a_shard_learns_how_many_there_are_and_notices_another_number(
    cluster: tuple[str, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api, answer = cluster
    note = tmp_path / "note"
    assert replicas.main(["note"], api, tmp_path, note) == 0
    assert capsys.readouterr().out == "3\n"
    assert answer["path"] == "/apis/apps/v1/namespaces/ticklake/statefulsets/ingest"
    assert answer["token"] == "Bearer let-me-in"
    assert replicas.main(["check"], api, tmp_path, note) == 0
    answer["spec"] = {"replicas": 4}
    assert replicas.main(["check"], api, tmp_path, note) == 1
    assert replicas.main(["check"], "http://127.0.0.1:9", tmp_path, note) == 0
