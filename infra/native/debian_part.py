"""Servers that Debian packages: its files unpacked beside the system, without root.

apt, with a state of its own, chooses and checks the packages; their scripts are not run.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from infra.native.part import Part, Place
from infra.native.software import Note, Software
from infra.native.tools import GO, JAVA, MAVEN, find
from infra.servers.account import as_we_are
from lake.errors import BadInput, Unavailable

RELEASE = "trixie"
SERVERS = ("postgresql-17", "postgresql-17-timescaledb", "redis-server")
SHELL = ("dash", "coreutils", "sed", "grep", "gzip", "tar")
"""What PostgreSQL calls when it makes a data folder, and when it archives its log."""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
POSTGRES_BINARIES = Path("/usr/lib/postgresql/17/bin")
REDIS = Path("/usr/bin/redis-server")
APT_S_MAX = 600.0
UNPACK_S_MAX = 120.0
ANSWER_S_MAX = 30.0


def wanted(place: Place) -> str:
    """Return the packages that are wanted here: the servers, and tools that the machine lacks."""
    software, names = place.software, [*SERVERS, *SHELL]
    needed = [JAVA]
    needed += [GO] if software.note("minio") is None else []
    needed += [MAVEN] if software.note("trino") is None else []
    for kind in needed:
        tool = find(kind, software, own=place.own)
        if tool is None or tool.usr is not None:
            names += [kind.package, "openssl"] if kind is not GO else [kind.package]
    return " ".join(dict.fromkeys(names))


def install(place: Place) -> Note:
    """Fetch and unpack the packages; what is there already stays as it is."""
    names = wanted(place).split()
    apt = place.downloads / "apt"
    fetch(place, apt, names)
    tree = place.software.folder / "debian"
    tree.mkdir(exist_ok=True)
    for package in sorted((apt / "cache" / "archives").glob("*.deb")):
        place.run("debian", ["dpkg-deb", "-x", str(package), str(tree)], UNPACK_S_MAX)
    relink(tree)
    if "openssl" in names:
        trust(place, tree)
    note = Note(" ".join(names), versions(place.software), {"usr": str(place.software.usr)})
    shutil.rmtree(apt)
    return note


def fetch(place: Place, apt: Path, names: list[str]) -> None:
    """Let apt choose, fetch and check the packages and all that they need."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    signed = f" [signed-by={KEYRING}]" if KEYRING.exists() else ""
    (apt / "sources.list").write_text(f"deb{signed} {mirror(place)} {RELEASE} main\n")
    settings = {
        "Dir::State": apt / "state",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
        "DPkg::Lock::Timeout": "300",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    config = apt / "apt.conf"
    config.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    words = ["install", "--yes", "--download-only", *names]
    for call in (["update"], words):
        place.run("debian", ["apt-get", "-q", *call], APT_S_MAX, {"APT_CONFIG": config})


def mirror(place: Place) -> str:
    """Return the address of Debian's packages that this machine is set up with."""
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"]
    for line in place.run("debian", [*words, "Created-By: Packages"], ANSWER_S_MAX).splitlines():
        address, release, component = line.split()
        if component == "main" and not release.endswith("-security"):
            return address
    raise BadInput("apt", "no Debian mirror is set up here", "see /etc/apt/sources.list.d")


def relink(tree: Path) -> None:
    """Let links into /etc lead to the tree's own: the servers see this machine's /etc."""
    for path in tree.rglob("*"):
        if path.is_symlink() and str(path.readlink()).startswith("/etc/"):
            inside = tree / str(path.readlink()).lstrip("/")
            path.unlink()
            path.symlink_to(inside)


def trust(place: Place, tree: Path) -> None:
    """Give the tree's Java this machine's certificates: it reads no other kind of file."""
    store = tree / "etc" / "ssl" / "certs" / "java" / "cacerts"
    store.parent.mkdir(parents=True, exist_ok=True)
    words = [*as_we_are(place.software.usr).becoming, "/usr/bin/openssl", "pkcs12", "-export"]
    words += ["-nokeys", "-jdktrust", "anyExtendedKeyUsage", "-certpbe", "NONE", "-nomac"]
    words += ["-passout", "pass:", "-in", str(CERTIFICATES), "-out", str(store)]
    place.run("debian", words, ANSWER_S_MAX)


def versions(software: Software) -> dict[str, str]:
    """Ask the programs for their versions, on their own /usr."""
    postgres = answer(software, str(POSTGRES_BINARIES / "postgres"), "--version")
    redis = answer(software, str(REDIS), "--version")
    control = software.usr / "share" / "postgresql" / "17" / "extension" / "timescaledb.control"
    line = next(x for x in control.read_text().splitlines() if x.startswith("default_version"))
    return {
        "postgres": postgres.split("(PostgreSQL)")[1].split()[0],
        "timescaledb": line.split("'")[1],
        "redis": next(word[2:] for word in redis.split() if word.startswith("v=")),
    }


def answer(software: Software, *words: str) -> str:
    """Return what a program of the other Debian prints; Unavailable when it can't be run."""
    done = subprocess.run(
        [*as_we_are(software.usr).becoming, *words],
        capture_output=True,
        text=True,
        timeout=ANSWER_S_MAX,
        check=False,
    )
    if done.returncode != 0:
        fault = (done.stderr.strip().splitlines() or ["no message"])[-1]
        remedy = "use a machine that allows mount namespaces, or infra/compose.yaml"
        raise Unavailable(words[0], f"does not run on {software.usr} ({fault})", remedy)
    return done.stdout


PART = Part("debian", "PostgreSQL, TimescaleDB, Redis", wanted, install)
