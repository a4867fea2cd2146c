"""Which code this is: a checksum of its files, and the versions of what it stands on."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("feature_repo", "flows", "lake", "warehouse_sql")
"""What a result can depend on: how it is run and shown is not among it."""

ENDINGS = (".py", ".sql", ".yaml")

LIBRARIES = (
    "duckdb",
    "lightgbm",
    "numpy",
    "optuna",
    "polars",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "torch",
    "trino",
)
"""What computes with values, by its name of distribution."""


def code_hash(packages: Iterable[str] = PACKAGES) -> str:
    """Return SHA-256 over the paths and contents of the packages' files, in hex.

    It stands for a commit, and is there without a checkout; a file that was changed and not
    committed changes it too. A package that is not installed adds nothing.
    """
    whole = hashlib.sha256()
    for package in sorted(packages):
        found = find_spec(package)
        for folder in (found.submodule_search_locations or []) if found else []:
            root = Path(folder)
            for path in sorted(each for each in root.rglob("*") if each.suffix in ENDINGS):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                whole.update(f"{package}/{path.relative_to(root).as_posix()} {content}\n".encode())
    return whole.hexdigest()


def library_versions(names: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Return the version of Python and of each library that is installed."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
