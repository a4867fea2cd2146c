"""Trino's server, from its archive in Maven's central repository, with the plug-ins we use."""

from __future__ import annotations

import shutil

from infra.native.part import Part, Place
from infra.native.software import Note
from infra.native.tools import MAVEN, find, java_home
from lake.errors import Damaged, Unavailable

VERSION = "476"
"""The newest whose archive is there."""

ARTIFACT = f"io.trino:trino-server:{VERSION}:tar.gz"
PLUGINS = ("iceberg", "postgresql", "geospatial", "password-authenticators")
"""geospatial: postgresql refuses to load without its types."""

FETCH_S_MAX = 900.0
UNPACK_S_MAX = 300.0


def wanted(place: Place) -> str:
    """Return the artifact, and the plug-ins that are kept."""
    return f"{ARTIFACT} {' '.join(PLUGINS)}"


def install(place: Place) -> Note:
    """Fetch and unpack it; its plug-ins share files by hard links, so all come out first."""
    maven = find(MAVEN, place.software, own=place.own)
    if maven is None:
        raise Unavailable("mvn", "no Maven answers", f"install {MAVEN.package}")
    repository = place.downloads / "maven"
    words = [*maven.words, "-B", "-q", f"-Dmaven.repo.local={repository}", "dependency:get"]
    words += [f"-Dartifact={ARTIFACT}", "-Dtransitive=false"]
    place.run("trino", words, FETCH_S_MAX, java_home(maven.usr) if maven.usr else {})
    archive = repository / "io/trino/trino-server" / VERSION / f"trino-server-{VERSION}.tar.gz"
    new, folder = place.downloads / "trino", place.software.trino
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    place.run(
        "trino", ["tar", "xzf", str(archive), "-C", str(new), "--strip-components=1"], UNPACK_S_MAX
    )
    for plugin in (new / "plugin").iterdir():
        if plugin.name not in PLUGINS:
            shutil.rmtree(plugin)
    check(place)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    shutil.rmtree(repository)
    return Note(wanted(place), {"trino": VERSION}, {"trino": str(folder / "lib")})


def check(place: Place) -> None:
    """Raise Damaged when the unpacked server is not whole; its first start shows the rest."""
    new = place.downloads / "trino"
    parts = [new / "lib" / f"io.trino_trino-main-{VERSION}.jar"]
    parts += [new / "plugin" / name for name in PLUGINS]
    lost = [path.name for path in parts if not path.exists()]
    if lost:
        raise Damaged(ARTIFACT, f"{lost[0]} is not in it", "try again")


PART = Part("trino", "Trino", wanted, install, after=("debian", "java"))
