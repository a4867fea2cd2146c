"""MinIO, built from the last commit of its source: no package of it is left."""

from __future__ import annotations

import shutil

from infra.native.part import Part, Place
from infra.native.software import Note
from infra.native.tools import GO, find
from lake.errors import Unavailable

MODULE = "github.com/minio/minio"
COMMIT = "v0.0.0-20260212201848-7aac2a2c5b7c"
VERSION = "2026-02-12"
"""The commit's day; it carries no other."""

BUILD_S_MAX = 1200.0
ANSWER_S_MAX = 30.0


def wanted(place: Place) -> str:
    """Return the module and its version."""
    return f"{MODULE}@{COMMIT}"


def install(place: Place) -> Note:
    """Build it, in about two minutes of two cores; its own caches serve a second try."""
    go = find(GO, place.software, own=place.own)
    if go is None:
        oldest = ".".join(map(str, GO.oldest))
        raise Unavailable("go", f"none of {oldest} or newer answers", f"install {GO.package}")
    folder = place.downloads / "go"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "GOBIN": folder / "bin",
        "GOMODCACHE": folder / "modules",
        "GOCACHE": folder / "built",
        "GOFLAGS": "-buildvcs=false -modcacherw",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    words = [*go.words, "install", "-ldflags", "-s -w", wanted(place)]
    place.run("minio", words, BUILD_S_MAX, settings)
    program = place.software.minio
    program.parent.mkdir(exist_ok=True)
    (folder / "bin" / "minio").replace(program)
    place.run("minio", [str(program), "--version"], ANSWER_S_MAX)
    shutil.rmtree(folder)
    return Note(wanted(place), {"minio": VERSION}, {"minio": str(program)})


PART = Part("minio", "MinIO", wanted, install, after=("debian",))
