"""A part of the software: how it is installed, and how we know that it is."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.native.software import Note, Software
from infra.servers.process import tail
from lake.errors import Unavailable


@dataclass(frozen=True)
class Place:
    """Where parts are installed. own: take no Go, Java or Maven of this machine."""

    software: Software
    own: bool = False

    @property
    def downloads(self) -> Path:
        """Return the folder of what is only needed until a part is installed; kept after a kill."""
        return self.software.folder / "download"

    def log(self, part: str) -> Path:
        """Return the log of a part's installation."""
        return self.software.folder / "log" / f"{part}.log"

    def run(
        self,
        part: str,
        words: Sequence[str],
        seconds_max: float,
        environment: Mapping[str, object] | None = None,
    ) -> str:
        """Run a program to its end, all of its words into the part's log; return its output.

        environment: what is set for it beside ours. Raises Unavailable when it fails or takes too
        long.
        """
        log = self.log(part)
        log.parent.mkdir(parents=True, exist_ok=True)
        program = Path(words[0]).name
        added = [f"{name}={value}" for name, value in (environment or {}).items()]
        try:
            with log.open("a") as output:
                done = subprocess.run(
                    ["env", *added, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    text=True,
                    cwd=self.software.folder,
                    timeout=seconds_max,
                    check=False,
                )
                output.write(done.stdout)
        except subprocess.TimeoutExpired as error:
            fault = f"{program} took more than {seconds_max:g} s"
            raise Unavailable(part, fault, f"try again; see {log}") from error
        if done.returncode != 0:
            raise Unavailable(part, f"{program} failed ({tail(log, 2)})", f"see {log}")
        return done.stdout


@dataclass(frozen=True)
class Part:
    """One part. wanted: what it is installed from; another one is another installation.

    install: does it, from whatever an earlier try left, and returns what answered. after: the
    parts that it needs.
    """

    name: str
    holds: str
    wanted: Callable[[Place], str]
    install: Callable[[Place], Note]
    after: tuple[str, ...] = field(default=())

    def is_installed(self, place: Place) -> bool:
        """Say whether all that is wanted is there."""
        note = place.software.note(self.name)
        if note is None or not set(self.wanted(place).split()) <= set(note.wanted.split()):
            return False
        return all(Path(path).exists() for path in note.paths.values())
