"""infra/kubernetes as tests read it: its objects, its pods, and who may speak to whom."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

INFRA = Path(__file__).resolve().parents[2] / "infra"


@cache
def documents() -> list[dict[str, Any]]:
    """Return every object; nobody changes one."""
    texts = [path.read_text() for path in sorted((INFRA / "kubernetes").glob("*.yaml"))]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def named(document: dict[str, Any]) -> str:
    return f"{document['kind']}/{document['metadata']['name']}"


def pods() -> dict[str, dict[str, Any]]:
    """Return the template of everything that runs pods."""
    kinds = ("Deployment", "StatefulSet", "Job")
    return {named(each): each["spec"]["template"] for each in documents() if each["kind"] in kinds}


def containers(template: dict[str, Any]) -> list[dict[str, Any]]:
    spec = template["spec"]
    return [*spec.get("initContainers", ()), *spec["containers"]]


def everywhere(node: object, key: str) -> Iterator[Any]:
    """Yield every value of a key, however deep."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from everywhere(value, key)
    elif isinstance(node, list):
        for each in node:
            yield from everywhere(each, key)


LABELS = {"hot-rw": {"cnpg.io/cluster": "hot"}}
"""Of the pods behind a host's name, where they are not its own."""


def allowed(way: str, end: str, of: dict[str, str], other: dict[str, str], port: int) -> bool:
    """Tell whether a policy of these pods lets traffic of that way to or from the others."""
    rules = [
        rule
        for each in documents()
        if each["kind"] == "NetworkPolicy"
        and each["spec"]["podSelector"].get("matchLabels", {"": ""}).items() <= of.items()
        for rule in each["spec"].get(way, ())
    ]
    return any(
        port in [one["port"] for one in rule["ports"]]
        and any(
            peer["podSelector"]["matchLabels"].items() <= other.items()
            for peer in rule.get(end, ())
            if peer.get("podSelector", {}).get("matchLabels")
        )
        for rule in rules
    )
