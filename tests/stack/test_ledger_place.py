"""Anchors and sealed events under object lock: nobody takes one away or writes over it."""

from __future__ import annotations

import io
import uuid
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from minio import Minio
from minio.error import S3Error

from feature_repo.ledger.second_place import LockedBucket
from lake.clock import SystemClock
from lake.errors import Damaged
from lake.warehouse import Bucket, warehouse_of


@pytest.fixture
def bucket(stack: Path) -> Bucket:
    """Return a bucket of the stack's store that is not there yet, with its keys."""
    whole = warehouse_of(stack)
    assert isinstance(whole, Bucket)
    return replace(whole, location=f"s3://ledger-{uuid.uuid4().hex[:12]}/orders")


def client_of(bucket: Bucket) -> Minio:
    """Return a client with the same keys, as somebody who has them would use it."""
    address = urlsplit(bucket.endpoint)
    return Minio(address.netloc, bucket.access_key, bucket.secret_key, secure=False)


def test_what_is_put_stays(bucket: Bucket) -> None:
    if bucket.endpoint.startswith("https"):
        pytest.skip("this client of the test's own knows no certificates")
    place = LockedBucket(bucket, SystemClock())
    place.make()
    place.make()
    place.put("anchors/00000001.json", b"one")
    place.put("anchors/00000001.json", b"one")
    with pytest.raises(Damaged, match="says something else"):
        place.put("anchors/00000001.json", b"two")
    with pytest.raises(FileNotFoundError):
        place.get("anchors/00000002.json")
    thief = client_of(bucket)
    name = "orders/anchors/00000001.json"
    (version,) = thief.list_objects(bucket.name, prefix=name, include_version=True)
    with pytest.raises(S3Error, match=r"[Rr]etention|locked|WORM|protected"):
        thief.remove_object(bucket.name, name, version_id=version.version_id)
    thief.put_object(bucket.name, name, io.BytesIO(b"forged"), 6)  # another version
    assert place.get("anchors/00000001.json") == b"one"
    thief.remove_object(bucket.name, name)  # a marker that hides it
    assert place.get("anchors/00000001.json") == b"one"
    assert place.names("anchors") == ["anchors/00000001.json"]
