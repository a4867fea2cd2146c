"""Where Feast finds the lakehouse: the home, what lies in it, and the folder of definitions."""

from __future__ import annotations

import os
from pathlib import Path

from lake.settings import from_env

REPO = Path(__file__).resolve().parents[1]
"""The folder of feature_store.yaml."""

PROJECT = "ticklake"
HOME = "TICKLAKE_HOME"


def home_of(repo_path: Path | None, home: str = "") -> Path:
    """Return the home: as given, else TICKLAKE_HOME, else .ticklake beside the definitions."""
    if home:
        return Path(home)
    if os.environ.get(HOME):
        return from_env(os.environ).home
    return (repo_path or REPO).resolve().parent / ".ticklake"
