"""PostgreSQL in a container beside ours, as who backs it up and brings it back sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.recovery.bucket_place import BucketPlace
from infra.recovery.places import store_of
from infra.servers.account import Account
from infra.servers.to_end import run_to_end
from lake.errors import BadInput
from lake.warehouse import S3_SCHEME

COPIER = "backup"
"""The role that may copy the server's files, and nothing else (infra/config/postgres/roles.sh)."""

DATA = Path("/var/lib/postgresql/data/pg")
"""PGDATA of the server: a folder of its volume, so that another can take its place there."""

SPOOL = Path("/archive/wal")
"""Where the server leaves its log: a volume that both see."""

WANTED = ("PGHOST", "S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY")


@dataclass(frozen=True)
class RemotePostgres:
    """The server that libpq's variables name; BACKUP_PASSWORD is the copier's. data: its folder,
    where its volume is mounted.
    """

    environ: Mapping[str, str] = field(repr=False)
    data: Path = DATA
    spool: Path = SPOOL

    def account(self) -> Account:
        """Return who its files belong to: whom the spool does."""
        status = self.spool.stat()
        return Account("postgres", status.st_uid, status.st_gid, ())

    def reached_by(self) -> tuple[str, ...]:
        """Return the words by which its programs reach it; it says itself when it is not up."""
        return ("-U", COPIER)

    def run(self, program: str, *words: str, seconds_max: float) -> None:
        """Run one of PostgreSQL's client programs."""
        environment = {**self.environ, "PGPASSWORD": self.environ.get("BACKUP_PASSWORD", "")}
        run_to_end([program, *words], program, seconds_max, environment)


def place_from(environ: Mapping[str, str], address: str, spool: Path = SPOOL) -> BucketPlace:
    """Return the place of this address; BadInput names a variable that is missing."""
    for name in WANTED:
        if not environ.get(name):
            raise BadInput(name, "is not set", "backups learn their server and store from it")
    if not address.startswith(S3_SCHEME):
        remedy = "s3://bucket/folder; a container's own folder would go with it"
        raise BadInput("TICKLAKE_BACKUP", f"{address!r} is no bucket", remedy)
    keys = {
        "endpoint": environ["S3_ENDPOINT"],
        "region": environ.get("S3_REGION") or "us-east-1",
        "access_key": environ["S3_ACCESS_KEY"],
        "secret_key": environ["S3_SECRET_KEY"],
        "ca": environ.get("TLS_CA") or None,
    }
    return BucketPlace(address, store_of(keys, makes_buckets=True), spool)
