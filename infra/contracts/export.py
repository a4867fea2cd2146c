"""Avro schemas of every released contract, as files."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from lake.contracts.avro_schema import avro_text
from lake.contracts.contract import Contract, parse
from lake.errors import Refused


def released(folder: Path | None = None) -> list[Contract]:
    """Return every released contract, by dataset and version, oldest version first.

    folder: of <dataset>/<version>.yaml, the package's own by default. Raises BadInput for a file
    that is no contract.
    """
    folder = folder or package_folder("released")
    found = [
        parse(path.read_text(encoding="utf-8"), f"{path.parent.name}/{path.name}")
        for path in folder.glob("*/*.yaml")
    ]
    return sorted(found, key=lambda each: (each.name, _numbers(each.version)))


def export(contracts: list[Contract], folder: Path) -> list[Path]:
    """Write <dataset>/<version>.avsc where it is not there; return what was written.

    Raises Refused where one is there that says something else: what is released stays.
    """
    written = []
    for contract in contracts:
        path = folder / contract.name / f"{contract.version}.avsc"
        text = avro_text(contract)
        if path.exists():
            if path.read_text(encoding="utf-8") != text:
                raise Refused(str(path), "says other than its contract", "raise the version")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def package_folder(name: str) -> Path:
    """Return a folder beside the contracts."""
    return Path(str(files("lake.contracts").joinpath(name)))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
