"""Install the stack profile's software: `python -m infra.native.install [FOLDER]`.

Safe to call again, at once from two places, and after a kill: each part has a note that is written
last. Parts that don't need each other are installed at the same time.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import click

from infra.native import debian_part, java_part, minio_part, python_part, trino_part
from infra.native.part import Part, Place
from infra.native.software import Software
from infra.servers.lock import held
from lake.clock import Clock, SystemClock
from lake.errors import BadInput, DiskFull, TicklakeError, Unavailable
from lake.settings import GIBIBYTE, from_env

PARTS = (debian_part.PART, java_part.PART, python_part.PART, minio_part.PART, trino_part.PART)
FREE_BYTES_MIN = 6 * GIBIBYTE
"""While it is installed; what stays is 2 GiB."""

LOCK_S_MAX = 1800.0
SAY_EVERY_S = 20.0


class Installation:
    """One run of the installation, told line by line."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self._place = place
        self._clock = clock
        self._start_us = clock.monotonic_us()
        self._at_work: set[str] = set()
        self._told = threading.Lock()

    def run(self, parts: tuple[Part, ...] = PARTS) -> None:
        """Install what is not there; raises the first fault, once all that runs has ended."""
        missing = [part for part in parts if not part.is_installed(self._place)]
        for part in parts:
            if part not in missing:
                self._say(part, f"there: {self._versions(part)}")
        if not missing:
            return
        free = shutil.disk_usage(self._place.software.folder).free
        if free < FREE_BYTES_MIN:
            fault = f"{free / GIBIBYTE:.1f} GiB are free, {FREE_BYTES_MIN / GIBIBYTE:g} are needed"
            raise DiskFull(str(self._place.software.folder), fault, "choose another folder")
        ended = threading.Event()
        teller = threading.Thread(target=self._tell, args=(ended,), daemon=True)
        teller.start()
        try:
            self._install(missing)
        finally:
            ended.set()
            teller.join()

    def _install(self, missing: list[Part]) -> None:
        done: dict[str, Future[None]] = {}
        with ThreadPoolExecutor(len(missing)) as pool:
            for part in missing:
                before = [done[name] for name in part.after if name in done]
                done[part.name] = pool.submit(self._one, part, before)
        for future in done.values():
            future.result()

    def _one(self, part: Part, before: list[Future[None]]) -> None:
        for future in before:
            future.result()
        start_us = self._clock.monotonic_us()
        self._at_work.add(part.name)
        try:
            note = part.install(self._place)
        finally:
            self._at_work.discard(part.name)
        self._place.software.write_note(part.name, note)
        spent_s = (self._clock.monotonic_us() - start_us) / 1e6
        self._say(part, f"installed in {spent_s:.0f} s: {self._versions(part)}")

    def _versions(self, part: Part) -> str:
        versions = self._place.software.installed(part.name).versions
        return ", ".join(f"{name} {version}" for name, version in versions.items())

    def _tell(self, ended: threading.Event) -> None:
        while not ended.wait(SAY_EVERY_S):
            names = " and ".join(sorted(self._at_work))
            self._line(f"still at {names} after {self._spent_s():.0f} s")

    def _spent_s(self) -> float:
        return (self._clock.monotonic_us() - self._start_us) / 1e6

    def _say(self, part: Part, words: str) -> None:
        self._line(f"{part.name:8} {words}")

    def _line(self, words: str) -> None:
        with self._told:
            click.echo(words)


def install(folder: Path, clock: Clock | None = None, *, own: bool = False) -> None:
    """Install the software into a folder, below which nothing else should be kept.

    own: take no Go, Java or Maven of this machine. Raises Unavailable when something can't be
    had or built, DiskFull without room, BadInput for a folder that is not ours to write.
    """
    clock, folder = clock or SystemClock(), folder.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fault, remedy = str(error.strerror), "choose another with TICKLAKE_STACK_SOFTWARE"
        raise BadInput(str(folder), fault, remedy) from error
    with locked(folder, clock):
        Installation(Place(Software(folder), own), clock).run()


@contextmanager
def locked(folder: Path, clock: Clock) -> Iterator[None]:
    """Hold the folder's lock: a second installation waits, and then finds all of it there."""
    refused = Unavailable(str(folder), "another installation is at work", "wait for it")
    told = f"another installation into {folder} is at work: waiting for it"
    with held(folder / "lock", clock, LOCK_S_MAX, refused, lambda: click.echo(told)):
        yield


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--own", is_flag=True, help="Take no Go, Java or Maven of this machine.")
def main(folder: Path | None, own: bool) -> None:
    """Install the stack profile's software into FOLDER (or TICKLAKE_STACK_SOFTWARE)."""
    try:
        folder = folder or from_env(os.environ).stack_software
        click.echo(f"stack software in {folder}")
        install(folder, own=own)
    except TicklakeError as error:
        click.echo(f"install: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
