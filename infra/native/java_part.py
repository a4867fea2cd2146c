"""Java for Trino: this machine's where it is new enough, else the one among Debian's files."""

from __future__ import annotations

from pathlib import Path

from infra.native.part import Part, Place
from infra.native.software import Note
from infra.native.tools import JAVA, find
from lake.errors import Unavailable


def wanted(place: Place) -> str:
    """Return how new it must be."""
    return f"java>={'.'.join(map(str, JAVA.oldest))}"


def install(place: Place) -> Note:
    """Say which it is; Debian's files are there by now."""
    tool = find(JAVA, place.software, own=place.own)
    if tool is None:
        raise Unavailable("java", f"none of {wanted(place)} answers", f"install {JAVA.package}")
    outside = Path(tool.program)
    if tool.usr is not None:
        outside = tool.usr / outside.relative_to("/usr")
    return Note(wanted(place), {"java": tool.version}, {"java": str(outside)})


PART = Part("java", "Java", wanted, install, after=("debian",))
