"""Prefect's and MLflow's servers: Python packages, in an environment of their own.

They ask for other versions than ours do of packages that both use.
"""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path

from infra.native.part import Part, Place
from infra.native.software import Note

PACKAGES = Path(__file__).with_name("servers.txt")
"""Every package with its version. What binds: fastapi < 0.151 (with newer ones Prefect's server
does not start) and SQLAlchemy < 2.1 (with newer ones its scheduler makes no runs)."""

INSTALL_S_MAX = 1200.0
ANSWER_S_MAX = 120.0
ASK = (
    "import json; from importlib.metadata import version;"
    " print(json.dumps({name: version(name) for name in ('prefect', 'mlflow')}))"
)


def wanted(place: Place) -> str:
    """Return the version of the list, and of Python."""
    digest = zlib.crc32(PACKAGES.read_bytes())
    return f"servers.txt-{digest:08x} python-{sys.version_info.major}.{sys.version_info.minor}"


def install(place: Place) -> Note:
    """Make the environment, or complete it, and see that every package has what it needs."""
    software = place.software
    folder, python = software.folder / "python", str(software.python)
    place.run("python", [sys.executable, "-m", "venv", str(folder)], INSTALL_S_MAX)
    words = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    words += ["--requirement", str(PACKAGES)]
    # compiled now: a server that compiles at its first start takes half a minute
    place.run("python", words, INSTALL_S_MAX, {"PYTHONDONTWRITEBYTECODE": ""})
    place.run("python", [python, "-m", "pip", "check"], ANSWER_S_MAX)
    versions = json.loads(place.run("python", [python, "-c", ASK], ANSWER_S_MAX))
    return Note(wanted(place), versions, {"python": python})


PART = Part("python", "Prefect, MLflow", wanted, install)
