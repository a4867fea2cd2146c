"""Where the lake's files lie: a folder of this machine, or a bucket of an S3 store.

Each kind says how pyiceberg and DuckDB get there. The keys of a bucket are in no `repr` and in no
message of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lake.errors import BadInput
from lake.state import read_state

FOLDER = "warehouse"
"""The folder of a home that holds the files where no bucket does."""

FILE_SCHEME = "file://"
S3_SCHEME = "s3://"

S3_CA = "s3.ca-file"
"""Our property of a catalog: where Bucket.ca is."""

CONNECT_S_MAX = 2
REQUEST_S_MAX = 10
"""Seconds that a request to the store may take; it is then tried again."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of this machine."""

    path: Path

    @property
    def location(self) -> str:
        """Return the URI that tables are made below."""
        return f"{FILE_SCHEME}{self.path.resolve()}"

    @property
    def words(self) -> str:
        """Return what to call it."""
        return f"folder {self.path.resolve()}"

    def iceberg_properties(self) -> dict[str, str]:
        """Return what pyiceberg must know to get there."""
        return {}

    def duckdb_secret(self) -> str:
        """Return the statement that lets DuckDB in; "" where none is needed."""
        return ""

    def order(self) -> dict[str, str]:
        """Return it as a document, for another process of ours."""
        return {"location": self.location}


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of an S3 store, or a folder of one; location: s3://bucket/folder.

    ca: file of the certificates that vouch for the store; "" for those that the system trusts.
    """

    location: str
    endpoint: str
    region: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    ca: str = ""

    @property
    def words(self) -> str:
        """Return what to call it."""
        return f"{self.location} at {self.endpoint}"

    @property
    def name(self) -> str:
        """Return the bucket's name."""
        return urlsplit(self.location).netloc

    def iceberg_properties(self) -> dict[str, str]:
        """Return what pyiceberg must know to get there."""
        return {
            "s3.endpoint": self.endpoint,
            "s3.region": self.region,
            "s3.access-key-id": self.access_key,
            "s3.secret-access-key": self.secret_key,
            **({S3_CA: self.ca} if self.ca else {}),
        }

    def duckdb_secret(self) -> str:
        """Return the statement that lets DuckDB in; it holds the keys: show it to nobody."""
        address = urlsplit(self.endpoint)
        values = {
            "KEY_ID": self.access_key,
            "SECRET": self.secret_key,
            "REGION": self.region,
            "ENDPOINT": address.netloc,
            "URL_STYLE": "path",
            "SCOPE": f"{S3_SCHEME}{self.name}",
        }
        options = ", ".join(f"{name} {_quoted(value)}" for name, value in values.items())
        secure = str(address.scheme == "https").lower()
        return f"CREATE OR REPLACE SECRET lake_files (TYPE s3, {options}, USE_SSL {secure})"

    def order(self) -> dict[str, str]:
        """Return it as a document, for another process of ours; it holds the keys."""
        return {
            "location": self.location,
            "endpoint": self.endpoint,
            "region": self.region,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "ca": self.ca,
        }


Warehouse = Folder | Bucket


def warehouse_of(home: Path, role: str | None = None) -> Warehouse:
    """Return where the files of a home's lake lie, as its state says; else in its folder.

    role: whose keys to come with, where the store has some for it; else the owner's.
    """
    state = read_state(home)
    location = state.get("warehouse", {}).get("location")
    if location is None:
        return Folder(home / FOLDER)
    keys = state.get("roles", {}).get(role, {}).get("s3", {})
    return warehouse_at({**state.get("s3", {}), **keys, "location": location})


def warehouse_at(place: str | Mapping[str, Any]) -> Warehouse:
    """Return the warehouse of a document as `order` makes it, or of a folder's path.

    Raises BadInput for a bucket that comes without address or keys, and for other schemes.
    """
    document = {"location": place} if isinstance(place, str) else place
    location = str(document["location"]).rstrip("/")
    if location.startswith(FILE_SCHEME) or "://" not in location:
        return Folder(Path(location.removeprefix(FILE_SCHEME)))
    if not location.startswith(S3_SCHEME):
        raise BadInput(f"warehouse {location}", "neither a folder nor s3://", "choose one of them")
    try:
        keys = ("endpoint", "access_key", "secret_key")
        endpoint, access_key, secret_key = (str(document[key]) for key in keys)
    except KeyError as error:
        raise BadInput(
            f"warehouse {location}", f"its store has no {error.args[0]}", "run: ticklake up"
        ) from error
    region = str(document.get("region") or "us-east-1")
    ca = str(document.get("ca") or "")
    return Bucket(location, endpoint, region, access_key, secret_key, ca)


def readable(location: str) -> str:
    """Return a file's location as DuckDB and the system read it: a plain path, or s3://."""
    return location.removeprefix(FILE_SCHEME)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
