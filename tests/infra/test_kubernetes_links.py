"""How the parts of infra/kubernetes hang together: who may reach whom, and whose each name is."""

from __future__ import annotations

import re
from dataclasses import fields
from urllib.parse import urlsplit

import pytest

from infra.cluster import replicas
from infra.native import tls_folder, trino_door
from lake.settings import PREFIX, Settings, variable
from tests.infra.manifests import (
    INFRA,
    LABELS,
    allowed,
    containers,
    documents,
    everywhere,
    named,
    pods,
)


def test_what_may_leave_a_pod_may_enter_the_other_and_the_other_way() -> None:
    rules = {"egress": ("ingress", "to"), "ingress": ("egress", "from")}
    one_sided = []
    policies = [each["spec"] for each in documents() if each["kind"] == "NetworkPolicy"]
    for spec in policies:
        own = spec["podSelector"].get("matchLabels", {})
        for way, (other_way, end) in rules.items():
            for rule in spec.get(way, ()):
                peers = [
                    p["podSelector"]["matchLabels"] for p in rule.get(end, ()) if "podSelector" in p
                ]
                one_sided += [
                    (own, way, peer, port["port"])
                    for peer in peers
                    for port in rule["ports"]
                    if not allowed(
                        other_way, "from" if end == "to" else "to", peer, own, port["port"]
                    )
                ]
    assert one_sided == []


SPEAKS_TO = {
    "StatefulSet/ingest": {("hot-rw", 5432), ("redis-live", 6379), ("trino", 8443)},
    "StatefulSet/live": {("hot-rw", 5432), ("redis-live", 6379), ("mlflow", 5000)},
    "Deployment/flows": {("hot-rw", 5432), ("redis", 6379), ("prefect", 4200), ("trino", 8443)},
    "Deployment/prefect-worker": {
        *(("hot-rw", 5432), ("redis", 6379), ("prefect", 4200), ("trino", 8443), ("mlflow", 5000))
    },
    "Deployment/metrics": {
        *(("hot-rw", 5432), ("redis", 6379), ("prefect", 4200), ("trino", 8443), ("mlflow", 5000))
    },
    "Job/set-up": {("hot-rw", 5432), ("redis", 6379), ("trino", 8443)},
    "Deployment/trino-coordinator": {("hot-rw", 5432), ("trino", 8080)},
    "Deployment/trino-worker": {("hot-rw", 5432), ("trino", 8080)},
    "StatefulSet/prefect": {("hot-rw", 5432)},
    "Deployment/mlflow": {("hot-rw", 5432)},
    "Job/mlflow-users": {("hot-rw", 5432)},
    "StatefulSet/redis": {("redis", 6379), ("redis", 16379)},
    "Job/redis-join": {("redis", 6379)},
    "StatefulSet/redis-live": set(),
}
"""Whom each pod asks while it works, by the names and ports of services."""


def test_every_pod_reaches_whom_it_works_with() -> None:
    assert SPEAKS_TO.keys() == pods().keys()
    for name, others in SPEAKS_TO.items():
        labels = pods()[name]["metadata"]["labels"]
        for host, port in others:
            target = LABELS.get(host, {"app": host})
            assert allowed("egress", "to", labels, target, port), (name, host, port)
            assert allowed("ingress", "from", target, labels, port), (name, host, port)
    for label in ("trino", "live"):  # pods of analysts and traders
        port = {"trino": 8443, "live": 8765}[label]
        assert allowed("egress", "to", {"access": label}, {"app": label}, port)
        assert allowed("ingress", "from", {"app": label}, {"access": label}, port)


def test_every_address_is_a_service_s_and_every_service_finds_its_pods() -> None:
    services = {
        each["metadata"]["name"]: each["spec"] for each in documents() if each["kind"] == "Service"
    }
    for name, spec in services.items():
        chosen = [
            pod
            for pod in pods().values()
            if spec["selector"].items() <= pod["metadata"]["labels"].items()
        ]
        assert chosen, name
        for pod in chosen:
            held = {
                port["containerPort"] for each in containers(pod) for port in each.get("ports", ())
            }
            assert {port["port"] for port in spec["ports"]} <= held, name
    servers = next(each for each in documents() if named(each) == "ConfigMap/servers")["data"]
    assert servers["REDIS_HOST"] in services
    for each in ("TRINO_URL", "PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        place = urlsplit(servers[each])
        ports = {port["port"] for port in services[str(place.hostname)]["ports"]}
        assert place.port in ports, each
    for each in documents():
        if each["kind"] == "StatefulSet":
            assert each["spec"]["serviceName"] in services
            assert (
                services[each["spec"]["serviceName"]]["selector"].items()
                <= {**each["spec"]["template"]["metadata"]["labels"]}.items()
            )


@pytest.mark.parametrize("name", pods())
def test_what_a_pod_mounts_probes_and_selects_is_its_own(name: str) -> None:
    (document,) = (each for each in documents() if named(each) == name)
    spec = document["spec"]["template"]["spec"]
    claims = document["spec"].get("volumeClaimTemplates", ())
    volumes = {each["name"] for each in spec.get("volumes", ())}
    volumes |= {each["metadata"]["name"] for each in claims}
    mounts = {
        mount["name"] for each in containers(pods()[name]) for mount in each.get("volumeMounts", ())
    }
    assert mounts == volumes
    for each in spec["containers"]:
        ports = {port["name"] for port in each.get("ports", ())}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = each.get(probe, {}).get("httpGet", {}).get("port")
            assert asked is None or asked in ports, (name, probe)
    if "selector" in document["spec"]:
        chosen = document["spec"]["selector"]["matchLabels"]
        assert chosen.items() <= document["spec"]["template"]["metadata"]["labels"].items()
    # a service's name would else make variables: REDIS_PORT is an address then
    assert spec["enableServiceLinks"] is False


def test_every_key_of_a_secret_or_a_map_that_is_asked_for_is_said_or_made() -> None:
    said = re.sub(r"\n# {5,}", " ", (INFRA / "kustomization.yaml").read_text())
    found = re.findall(r"^#   (ticklake-[\w-]+) +(.+)$", said, re.MULTILINE)
    keys = {secret: set(re.findall(r"[\w.]+", words)) for secret, words in found}
    keys["hot-app"] = {"password"}
    missing = [
        (each["name"], each["key"])
        for each in everywhere(list(documents()), "secretKeyRef")
        if each["key"] not in keys[each["name"]] and each["name"] != "ticklake-s3-roles"
    ]
    volumes = [each for each in everywhere(list(documents()), "secret") if "items" in each]
    assert len(volumes) >= 10  # of those that are projected, too
    missing += [
        (secret, item["key"])
        for each in volumes
        for secret in [each.get("secretName") or each["name"]]
        for item in each["items"]
        if item["key"] not in keys[secret]
    ]
    assert missing == []
    maps = {
        each["metadata"]["name"]: each["data"]
        for each in documents()
        if each["kind"] == "ConfigMap"
    }
    for each in everywhere(list(documents()), "configMapKeyRef"):
        assert each["key"] in maps[each["name"]], each


def test_what_pods_set_of_ours_are_settings() -> None:
    maps = [each["data"] for each in documents() if each["kind"] == "ConfigMap"]
    names = {name for each in maps for name in each if name.startswith(PREFIX)}
    names |= {
        one["name"]
        for template in pods().values()
        for each in containers(template)
        for one in each.get("env", ())
        if one["name"].startswith(PREFIX)
    }
    assert len(names) >= 10
    assert names <= {variable(each.name) for each in fields(Settings)}


def test_a_pod_that_asks_the_cluster_may_and_no_other_has_a_token() -> None:
    roles = {
        each["metadata"]["name"]: each["rules"] for each in documents() if each["kind"] == "Role"
    }
    for name, template in pods().items():
        account = template["spec"].get("serviceAccountName")
        if account is None:
            assert template["spec"]["automountServiceAccountToken"] is False, name
            continue
        (binding,) = (
            each
            for each in documents()
            if each["kind"] == "RoleBinding"
            and {"kind": "ServiceAccount", "name": account, "namespace": "ticklake"}
            in each["subjects"]
        )
        (rule,) = roles[binding["roleRef"]["name"]]
        assert (rule["resources"], rule["resourceNames"], rule["verbs"]) == (
            *(["statefulsets"], [replicas.SET], ["get"]),
        )


def test_trino_takes_no_name_without_its_password_and_http_is_for_its_nodes() -> None:
    plain, own = (
        trino_door.pairs(path)
        for path in (
            INFRA / "config" / "trino" / "config.properties",
            INFRA / "kubernetes" / "trino-coordinator.properties",
        )
    )
    other = {"discovery.uri", "node-scheduler.include-coordinator"}
    sized = {name for name in plain if "memory" in name}
    assert {name for name in plain if plain[name] != own.get(name)} == other | sized
    assert own["http-server.authentication.type"] == "PASSWORD"
    assert own["http-server.authentication.allow-insecure-over-http"] == "false"
    worker = trino_door.pairs(INFRA / "kubernetes" / "trino-worker.properties")
    secret = "internal-communication.shared-secret"
    assert worker[secret] == own[secret] == "${ENV:TRINO_SECRET}"
    for name, template in pods().items():
        labels = template["metadata"]["labels"]
        nodes = labels["app"] == "trino"
        assert allowed("ingress", "from", {"app": "trino"}, labels, 8080) is nodes, name
    assert not allowed("ingress", "from", {"app": "trino"}, {"access": "trino"}, 8080)
    start = pods()["Deployment/trino-coordinator"]["spec"]["initContainers"][0]
    given = {one["name"] for one in start["env"]}
    assert {tls_folder.variable(user) for user in trino_door.users()} < given
    tls_folder.from_env(dict.fromkeys(given, "word"))  # asks for nothing else
    for each in documents():  # and who has Trino's address knows whom to trust
        for container in containers(each["spec"]["template"]) if named(each) in pods() else ():
            if ("trino", 8443) in SPEAKS_TO[named(each)] and container.get("args", [""])[0] != "up":
                mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
                assert "/etc/ticklake/trust" in mounts, named(each)


def test_who_is_told_whom_to_trust_has_the_file() -> None:
    servers = next(each for each in documents() if named(each) == "ConfigMap/servers")["data"]
    place = "/etc/ticklake/trust"
    files = {value.rpartition("/")[2] for value in servers.values() if value.startswith(place)}
    told = [
        (name, template["spec"], each)
        for name, template in pods().items()
        for each in containers(template)
        if {"configMapRef": {"name": "servers"}} in each.get("envFrom", ())
        and each["image"].startswith("ticklake:")
    ]
    assert len(told) == 8
    for name, spec, each in told:
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        (mount,) = (mount for mount in each["volumeMounts"] if mount["mountPath"] == place)
        items = everywhere(volumes[mount["name"]], "items")
        there = {item["path"] for some in items for item in some}
        assert there == (files - {"ca.crt"} if name == "StatefulSet/live" else files), name


@pytest.mark.parametrize("name", pods())
def test_every_pod_has_a_network_policy_of_its_own(name: str) -> None:
    labels = pods()[name]["metadata"]["labels"]
    policies = [
        each["spec"]["podSelector"] for each in documents() if each["kind"] == "NetworkPolicy"
    ]
    chosen = [each["matchLabels"] for each in policies if each.get("matchLabels")]
    assert [each for each in chosen if each.items() <= labels.items()]
    assert {} in policies  # and what no policy names is closed


def test_who_starts_may_reach_every_server_that_it_asks_then() -> None:
    servers = next(each for each in documents() if named(each) == "ConfigMap/servers")["data"]
    asked = []
    for name, template in pods().items():
        for each in containers(template):
            if each.get("args", [])[:1] == ["up"]:
                own = {one["name"]: one.get("value") for one in each["env"]}
                given = {**servers, **{key: value for key, value in own.items() if value}}
                hosts = [(given["POSTGRES_HOST"], 5432), (given["REDIS_HOST"], 6379)]
                if not {"--no-views", "--role"} & {*each["args"]}:
                    hosts.append(("trino", 8443))
                asked += [(name, template["metadata"]["labels"], *host) for host in hosts]
    assert len(asked) == 13
    for name, labels, host, port in asked:
        target = LABELS.get(host, {"app": host})
        assert allowed("egress", "to", labels, target, port), (name, host)
        assert allowed("ingress", "from", target, labels, port), (name, host)


def test_every_database_that_is_asked_for_is_made_with_its_owner_s_password() -> None:
    (cluster,) = (each for each in documents() if each["kind"] == "Cluster")
    said = (INFRA / "kustomization.yaml").read_text()
    asked = re.findall(r"://(\w+):PASSWORD@hot-rw:5432/(\w+)", said)
    assert asked == [("prefect", "prefect"), ("mlflow", "mlflow")]
    made = cluster["spec"]["bootstrap"]["initdb"]["postInitSQL"]
    managed = {
        each["name"]: each["passwordSecret"]["name"] for each in cluster["spec"]["managed"]["roles"]
    }
    for owner, database in asked:
        assert f"CREATE ROLE {owner} LOGIN" in made
        assert f"CREATE DATABASE {database} OWNER {owner}" in made
        assert managed[owner] == f"ticklake-{owner}"
        assert re.search(rf"^#   ticklake-{owner} +username {owner}, password", said, re.MULTILINE)
