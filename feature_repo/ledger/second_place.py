"""The place beside the database: anchors and sealed segments, written once and never again.

A folder, or a bucket whose objects are locked for six years: there not even its owner can change or
remove one (S3 object lock, mode COMPLIANCE). Who can write to the database should not be able to
write here.
"""

from __future__ import annotations

import io
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.commonconfig import COMPLIANCE
from minio.error import MinioException, S3Error
from minio.retention import Retention

from lake.clock import Clock, utc_from_us
from lake.contracts.retention import ORDER_DAYS_MIN
from lake.errors import Damaged, Unavailable
from lake.tables.warehouse_io import sync_folder
from lake.warehouse import Bucket

ANSWER_S_MAX = 30
_LATE = datetime.max.replace(tzinfo=UTC)


class SecondPlace(Protocol):
    """Files that are written once."""

    @property
    def words(self) -> str:
        """Return what to call it."""

    def put(self, name: str, content: bytes) -> None:
        """Keep a file, durable when this returns; Damaged where another has its name."""

    def get(self, name: str) -> bytes:
        """Return a file; FileNotFoundError for none."""

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted, as folder/name."""


@dataclass(frozen=True, slots=True)
class LockedFolder:
    """A folder; its files are made read-only, which stops accidents and no owner."""

    path: Path

    @property
    def words(self) -> str:
        """Return what to call it."""
        return str(self.path)

    def put(self, name: str, content: bytes) -> None:
        """Keep a file."""
        path = self.path / name
        if path.exists():
            _same(str(path), path.read_bytes(), content)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.{os.getpid()}.new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o444), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
        sync_folder(path.parent)

    def get(self, name: str) -> bytes:
        """Return a file; FileNotFoundError for none."""
        return (self.path / name).read_bytes()

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder."""
        found = sorted(each.name for each in (self.path / folder).glob("*"))
        return [f"{folder}/{name}" for name in found if not name.startswith(".")]


class LockedBucket:
    """A bucket made with object lock; each object is kept for ORDER_DAYS_MIN days at least."""

    def __init__(self, bucket: Bucket, clock: Clock) -> None:
        address = urlsplit(bucket.endpoint)
        secure = address.scheme == "https"
        context = ssl.create_default_context(cafile=bucket.ca or None) if secure else None
        self._bucket = bucket
        self._clock = clock
        self._folder = urlsplit(bucket.location).path.strip("/")
        self._client = Minio(
            address.netloc,
            bucket.access_key,
            bucket.secret_key,
            region=bucket.region,
            secure=secure,
            http_client=urllib3.PoolManager(
                timeout=ANSWER_S_MAX, retries=urllib3.Retry(2), ssl_context=context
            ),
        )

    @property
    def words(self) -> str:
        """Return what to call it."""
        return self._bucket.words

    def make(self) -> None:
        """Make the bucket with object lock where there is none."""
        try:
            if not self._client.bucket_exists(self._bucket.name):
                self._client.make_bucket(self._bucket.name, object_lock=True)
            self._client.get_object_lock_config(self._bucket.name)
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            raise _away(self.words, error) from error

    def put(self, name: str, content: bytes) -> None:
        """Keep an object, locked."""
        try:
            found = self.get(name)
        except FileNotFoundError:
            pass
        else:
            _same(f"{self.words}/{name}", found, content)
            return
        until = utc_from_us(self._clock.now_us()) + timedelta(days=ORDER_DAYS_MIN)
        try:
            self._client.put_object(
                *(self._bucket.name, self._path(name), io.BytesIO(content), len(content)),
                retention=Retention(COMPLIANCE, until),
            )
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            raise _away(self.words, error) from error

    def get(self, name: str) -> bytes:
        """Return an object; FileNotFoundError for none.

        Of several versions the first: a lock keeps versions, not names, so who writes the name
        again makes a version that counts for nothing.
        """
        try:
            listed = self._client.list_objects(
                self._bucket.name, prefix=self._path(name), include_version=True
            )
            versions = [
                each
                for each in listed
                if each.object_name == self._path(name) and not each.is_delete_marker
            ]
            if not versions:
                raise FileNotFoundError(name)
            first = min(versions, key=lambda each: each.last_modified or _LATE)
            answer = self._client.get_object(
                self._bucket.name, self._path(name), version_id=first.version_id
            )
            try:
                return bytes(answer.read())
            finally:
                answer.close()
                answer.release_conn()
        except S3Error as error:
            if error.code == "NoSuchKey":
                raise FileNotFoundError(name) from error
            raise _away(self.words, error) from error
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            raise _away(self.words, error) from error

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, those too that somebody hid under a delete marker."""
        prefix = self._path(folder) + "/"
        try:
            listed = self._client.list_objects(
                self._bucket.name, prefix=prefix, include_version=True
            )
            found = {str(each.object_name) for each in listed if not each.is_delete_marker}
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            raise _away(self.words, error) from error
        return sorted(f"{folder}/{each.removeprefix(prefix)}" for each in found)

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}" if self._folder else name


def _same(thing: str, found: bytes, wanted: bytes) -> None:
    if found != wanted:
        raise Damaged(thing, "is there and says something else", "see: ticklake ledger verify")


def _away(thing: str, error: Exception) -> Unavailable:
    return Unavailable(thing, str(error).splitlines()[0], "look at the store, then try again")
