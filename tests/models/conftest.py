"""A registry of models that MLflow has made once: its SQLite takes 4 s and more to make."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from feature_repo.models.registry import FOLDER, Registry, registry_place
from infra.servers.lock import held
from lake.clock import SystemClock
from lake.errors import Unavailable

MADE_S_MAX = 120.0


@pytest.fixture(scope="session")
def give_registry(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Return what gives a home an empty registry: a copy of one, the same for all workers."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    first = folder / "registry"
    refused = Unavailable("registry", "another worker makes it", "wait for it")
    with held(folder / "registry.lock", SystemClock(), MADE_S_MAX, refused):
        if not first.exists():
            making = folder / "registry.new"
            making.mkdir()
            Registry(registry_place(making))
            making.rename(first)

    def give(home: Path) -> None:
        shutil.copytree(first / FOLDER, home / FOLDER)

    return give
