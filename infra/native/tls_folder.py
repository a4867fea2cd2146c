"""Lay out what servers in containers need for TLS, as infra/compose.tls.yaml has it done.

`python -m infra.native.tls_folder FOLDER NAME...`: FOLDER is a volume of the servers',
FOLDER/trust one that clients see, with whom to trust and nothing else. Certificates are made for
these names, unless TLS_GIVEN is a folder with ca.crt, server.crt and server.key; a second
run keeps the CA. Trino's passwords are the roles' own, from <ROLE>_PASSWORD; its owner's is
TRINO_PASSWORD.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from infra.native import trino_door
from infra.servers.certificates import lay_out
from infra.servers.door import MADE
from lake.clock import Clock, SystemClock
from lake.errors import BadInput, TicklakeError

TRUST = ("ca.crt", "trust.p12")
FOR_ALL = 0o644
"""Each server of the volume is another user, and only servers mount it."""


def from_env(environ: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Return Trino's passwords by name, and where certificates come from.

    BadInput names a password that is missing.
    """
    for user in trino_door.users():
        if not environ.get(variable(user)):
            raise BadInput(variable(user), "is not set", "behind TLS Trino takes no name without")
    words = {trino_door.password_name(user): environ[variable(user)] for user in trino_door.users()}
    return words, environ.get("TLS_GIVEN") or MADE


def main(
    folder: Path, names: Sequence[str], passwords: Mapping[str, str], tls: str, clock: Clock
) -> None:
    """Write the folder; BadInput names the certificate that is of no use, or not for a name."""
    held = lay_out(folder, names, tls, clock)
    others = [name for name in names if not any(fnmatch(name, each) for each in held)]
    if others:
        fault = f"is not for {', '.join(others)}, by which its servers are reached"
        raise BadInput(f"{tls}/server.crt", fault, "have it made for these names, too")
    (folder / "run").mkdir(exist_ok=True)
    trino_door.see_to_files(folder, passwords)
    (folder / "trust").mkdir(exist_ok=True)
    for name in TRUST:
        shutil.copyfile(folder / name, folder / "trust" / name)
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "ca.key":
            path.chmod(FOR_ALL)


def variable(user: str) -> str:
    """Return the variable of a user's password."""
    return "TRINO_PASSWORD" if user == trino_door.OWNER else f"{user.upper()}_PASSWORD"


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2:], *from_env(os.environ), SystemClock())
    except TicklakeError as error:
        sys.exit(f"tls: {error}")
