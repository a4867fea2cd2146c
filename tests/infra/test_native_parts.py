"""What the installation takes for granted: tools that answer as they must, parts that are whole."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from infra.native.part import Part, Place
from infra.native.software import Note, Software
from infra.native.tools import GO, JAVA, MAVEN, Kind, Tool, answered, find


def program(folder: Path, name: str, lines: str) -> Path:
    """Make a program of these lines of shell."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize(
    ("kind", "lines", "version"),
    [
        (GO, "echo go version go1.24.4 linux/amd64", "1.24.4"),
        (GO, "echo go version go1.24 linux/amd64", "1.24"),
        (JAVA, "echo 'openjdk version \"25.0.1\" 2025-10-21' >&2", "25.0.1"),
        (MAVEN, "echo 'Apache Maven 3.9.9'", "3.9.9"),
    ],
)
def test_a_tool_that_is_new_enough_is_taken_with_its_version(
    tmp_path: Path, kind: Kind, lines: str, version: str
) -> None:
    path = str(program(tmp_path, kind.name, f'test "$1" = {kind.question} || exit 9\n{lines}'))
    assert answered(kind, path, None) == Tool(path, version, None)


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        (GO, "echo go version go1.23.9 linux/amd64"),
        (GO, "echo go version go1.9 linux/amd64"),  # by number, not by letter
        (JAVA, "echo 'openjdk version \"21.0.2\"' >&2"),
        (JAVA, "echo 'java version \"1.8.0_392\"' >&2"),
        (GO, "true"),
        (GO, "echo it is new, believe me"),
        (GO, "echo go version go1.24.4 linux/amd64; exit 1"),
        (GO, "exec sleep 60"),
    ],
    ids=["old", "older", "old java", "java 8", "silent", "vague", "failing", "hanging"],
)
def test_a_tool_that_is_too_old_silent_or_failing_is_none(
    tmp_path: Path, kind: Kind, lines: str
) -> None:
    path = str(program(tmp_path, kind.name, lines))
    assert answered(kind, path, None, answer_s_max=1.0 if "sleep" in lines else 60.0) is None


def test_a_program_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert answered(GO, str(tmp_path / "go"), None) is None


def test_a_tool_is_found_on_the_path_unless_only_our_own_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program(tmp_path / "bin", "go", "echo go version go1.25.0 linux/amd64")
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    software = Software(tmp_path / "software")
    assert find(GO, software) == Tool(str(path), "1.25.0", None)
    assert find(GO, software, own=True) is None
    program(tmp_path / "bin", "go", "echo go version go1.20 linux/amd64")
    assert find(GO, software) is None


def test_a_part_is_installed_once_all_that_is_wanted_is_there(tmp_path: Path) -> None:
    place = Place(Software(tmp_path))
    outside = program(tmp_path / "bin", "java", "true")
    wants = ["a=1 b=2"]

    def install(place: Place) -> Note:
        return Note("a=1 b=2 c=3", {"java": "25"}, {"java": str(outside)})

    part = Part("parts", "some", lambda _: wants[0], install)
    assert not part.is_installed(place)
    place.software.write_note("parts", part.install(place))
    assert part.is_installed(place)  # more than is wanted is enough
    wants[0] = "a=1 b=3"
    assert not part.is_installed(place)
    wants[0] = "a=1"
    assert part.is_installed(place)
    outside.unlink()  # this machine's Java went away
    assert not part.is_installed(place)
    place.software.note_path("parts").write_text("{")  # torn
    assert not part.is_installed(place)
