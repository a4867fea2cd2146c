"""The buckets of the lake's files and of models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyarrow.fs import FileType, S3FileSystem

from lake.errors import BadInput, Unavailable

LAKE, MODELS = "lake", "models"
"""Their usual names."""

NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class Buckets:
    """Their names. BadInput for one that can't be, or is both: their keys are two users'."""

    lake: str
    models: str

    def __post_init__(self) -> None:
        for name in (self.lake, self.models):
            if not NAME.fullmatch(name):
                remedy = "3 to 63 small letters, digits, - and ."
                raise BadInput(f"bucket {name!r}", "is no name of a bucket", remedy)
        if self.lake == self.models:
            fault = "is to hold the lake's files and models"
            raise BadInput(f"bucket {self.lake}", fault, "name two: their keys are two users'")


def buckets_of(s3: Mapping[str, Any], lake: str, models: str) -> Buckets:
    """Return a home's buckets: those that it has, else those asked for, "" for the usual.

    s3: the state's entry, empty before the first `up`. Raises BadInput where it has others: files
    do not move with a name.
    """
    return Buckets(
        _kept(str(s3.get("bucket", "")), lake) or LAKE,
        _kept(str(s3.get("models_bucket", "")), models) or MODELS,
    )


def _kept(known: str, asked: str) -> str:
    if known and asked not in ("", known):
        fault = f"is asked for, and the home has its files in {known}"
        raise BadInput(f"bucket {asked}", fault, "leave it out, or begin another --home")
    return known or asked


def see_to_buckets(s3: Mapping[str, str], buckets: Buckets) -> None:
    """Make the buckets that are missing; Unavailable when the store does not let us.

    s3: endpoint, region, keys and ca, as in the state (lake.state).
    """
    store = S3FileSystem(
        access_key=s3["access_key"],
        secret_key=s3["secret_key"],
        endpoint_override=s3["endpoint"],
        region=s3["region"],
        allow_bucket_creation=True,
        tls_ca_file_path=s3.get("ca"),
    )
    try:
        for bucket in (buckets.lake, buckets.models):
            if store.get_file_info(bucket).type == FileType.NotFound:
                store.create_dir(bucket)
    except OSError as error:
        raise Unavailable("S3 store", f"no bucket ({error})", "check its keys") from error
