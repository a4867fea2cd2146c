"""The assumptions: read from the home's cost.yaml where there is one, else ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from lake.contracts.contract import DATASETS
from lake.errors import BadInput

FILE = "cost.yaml"
SHARE_OFF_MAX = 1e-6


@dataclass(frozen=True, slots=True)
class Assumptions:
    """The document, checked; values by their dotted path."""

    document: Mapping[str, Any]

    def value(self, path: str) -> float:
        """Return a number; BadInput when it is not there or none."""
        found: Any = self.document
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        if isinstance(found, bool):
            return float(found)
        if not isinstance(found, int | float) or found < 0:
            raise BadInput(FILE, f"{path} is {found!r}", "a number, at least 0")
        return float(found)

    def numbers(self, path: str) -> dict[str, float]:
        """Return the numbers below a path."""
        found: Any = self.document
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            raise BadInput(FILE, f"{path} is {found!r}", "names with numbers")
        return {name: self.value(f"{path}.{name}") for name in found}

    def changed(self, values: Mapping[str, Any]) -> Assumptions:
        """Return them with other values at these dotted paths; BadInput for an unknown path."""
        document = _copy(self.document)
        for path, value in values.items():
            *folders, name = path.split(".")
            place = document
            for folder in folders:
                place = place.get(folder, {})
            if name not in place:
                raise BadInput(FILE, f"{path} is not there", "a lever sets what stands above")
            place[name] = value
        return Assumptions(document)

    def levers(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Return what can be done: name, values by path."""
        try:
            return [(str(each["name"]), dict(each["set"])) for each in self.document["levers"]]
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(FILE, f"levers: {error!r}", "each has `name` and `set`") from error


def default_text() -> str:
    """Return our file."""
    return files("lake.cost").joinpath("assumptions.yaml").read_text(encoding="utf-8")


def read_assumptions(home: Path) -> Assumptions:
    """Return the home's assumptions, else ours; BadInput for a file that can't be used."""
    path = home / FILE
    text = path.read_text(encoding="utf-8") if path.exists() else default_text()
    return parse(text)


def parse(text: str) -> Assumptions:
    """Return the assumptions that a text holds; BadInput when it can't be used."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(FILE, " ".join(str(error).split()), "repair the file") from error
    if not isinstance(document, dict):
        raise BadInput(FILE, "is no document", "see: ticklake cost --init")
    found = Assumptions(document)
    shares = found.numbers("mix")
    unknown = sorted(set(shares) - set(DATASETS))
    if unknown:
        raise BadInput(FILE, f"mix: {unknown[0]} is no dataset", f"of {', '.join(DATASETS)}")
    if abs(sum(shares.values()) - 1) > SHARE_OFF_MAX:
        raise BadInput(FILE, f"mix: shares add up to {sum(shares.values()):g}", "to 1")
    return found


def _copy(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _copy(value) if isinstance(value, Mapping) else value
        for name, value in document.items()
    }
