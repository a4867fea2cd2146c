"""The buckets of the lake's files and of models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyarrow.fs import FileType, S3FileSystem

from lake.errors import Unavailable


def see_to_buckets(s3: Mapping[str, str], buckets: Iterable[str]) -> None:
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
        for bucket in buckets:
            if store.get_file_info(bucket).type == FileType.NotFound:
                store.create_dir(bucket)
    except OSError as error:
        raise Unavailable("S3 store", f"no bucket ({error})", "check its keys") from error
