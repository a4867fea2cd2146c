"""Feast's registry as a file of the home, replaced whole."""

from __future__ import annotations

import os
from pathlib import Path

from feast.infra.registry.file import FileRegistryStore
from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto
from feast.repo_config import RegistryConfig

from feature_repo.store.place import home_of


class HomeRegistryStore(FileRegistryStore):
    """The registry at `path` of the home; a reader sees the one before or the next, whole."""

    def __init__(self, registry_config: RegistryConfig, repo_path: Path) -> None:
        self._filepath = home_of(repo_path) / registry_config.path

    def _write_registry(self, registry_proto: RegistryProto) -> None:
        place = self._filepath
        new = place.with_suffix(f".{os.getpid()}.new")
        place.parent.mkdir(parents=True, exist_ok=True)
        self._filepath = new
        try:
            super()._write_registry(registry_proto)
        finally:
            self._filepath = place
        new.replace(place)
