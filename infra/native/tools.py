"""Programs that the installation needs: this machine's where they are new enough, else Debian's."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.native.software import Software
from infra.servers.account import as_we_are

JAVA_MIN = (24,)
GO_MIN = (1, 24)
MAVEN_MIN = (3,)
ANSWER_S_MAX = 60.0
MACHINE_JAVAS = Path("/usr/lib/jvm")


@dataclass(frozen=True)
class Kind:
    """A kind of tool: how it is asked for its version, the oldest that will do, its package."""

    name: str
    question: str
    answer: re.Pattern[str]
    oldest: tuple[int, ...]
    package: str
    package_glob: str


JAVA = Kind(
    "java",
    "-version",
    re.compile(r'version "(\d+(?:\.\d+)*)'),
    JAVA_MIN,
    "openjdk-25-jre-headless",
    "lib/jvm/java-25-*/bin/java",
)
GO = Kind("go", "version", re.compile(r"go(\d+(?:\.\d+)*)"), GO_MIN, "golang-go", "lib/go-*/bin/go")
MAVEN = Kind(
    "mvn",
    "-version",
    re.compile(r"Apache Maven (\d+(?:\.\d+)*)"),
    MAVEN_MIN,
    "maven",
    "share/maven/bin/mvn",
)


@dataclass(frozen=True)
class Tool:
    """A tool that answers: its program, its version, the /usr that it runs on (None: ours)."""

    program: str
    version: str
    usr: Path | None

    @property
    def words(self) -> tuple[str, ...]:
        """Return the words that run it."""
        return (*(as_we_are(self.usr).becoming if self.usr else ()), self.program)


def find(kind: Kind, software: Software, *, own: bool = False) -> Tool | None:
    """Return a tool that is new enough: this machine's, else the software's; None without one.

    own: leave this machine's aside.
    """
    for program, usr in candidates(kind, software, own=own):
        tool = answered(kind, program, usr)
        if tool is not None:
            return tool
    return None


def candidates(kind: Kind, software: Software, *, own: bool) -> Iterator[tuple[str, Path | None]]:
    """Yield programs, and the /usr that each runs on."""
    if not own:
        found = shutil.which(kind.name)
        if found:
            yield found, None
        if kind is JAVA and MACHINE_JAVAS.is_dir():
            for path in sorted(MACHINE_JAVAS.glob("*/bin/java"), reverse=True):
                yield str(path), None
    for path in sorted(software.usr.glob(kind.package_glob), reverse=True):
        yield str(Path("/usr") / path.relative_to(software.usr)), software.usr


def answered(
    kind: Kind, program: str, usr: Path | None, answer_s_max: float = ANSWER_S_MAX
) -> Tool | None:
    """Return a tool with the version that it answers; None when it fails, hangs or is too old."""
    tool = Tool(program, "", usr)
    environment = java_home(usr) if kind is MAVEN and usr else {}
    added = [f"{name}={value}" for name, value in environment.items()]
    try:
        done = subprocess.run(
            ["env", *added, *tool.words, kind.question],
            capture_output=True,
            text=True,
            timeout=answer_s_max,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = kind.answer.search(done.stdout + done.stderr)
    if done.returncode != 0 or match is None:
        return None
    version = match[1]
    numbers = tuple(map(int, version.split(".")))
    return Tool(program, version, usr) if numbers >= kind.oldest else None


def java_home(usr: Path) -> dict[str, str]:
    """Return the environment that names the software's own Java to what runs on its /usr."""
    homes = sorted(usr.glob(JAVA.package_glob))
    inside = [Path("/usr") / path.relative_to(usr) for path in homes]
    return {"JAVA_HOME": str(inside[0].parents[1])} if inside else {}
