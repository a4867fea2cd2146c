"""Compare the contracts with their last release: additions pass, breaks are findings.

The copies under released/ are what readers were promised. A released column keeps its name, id,
type and place (the ledger's canonical text is read in column order) and never becomes stricter;
new columns come last and are optional. A column goes only after notice of three months.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from importlib.resources.abc import Traversable

from lake.contracts import deprecation
from lake.contracts.avro_schema import avro_text
from lake.contracts.contract import Column, Contract, parse
from lake.errors import BadInput


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise broken: column is "" where the fault is the dataset's."""

    dataset: str
    column: str
    fault: str

    def __str__(self) -> str:
        """Return thing: fault."""
        return f"{self.dataset}{f'.{self.column}' if self.column else ''}: {self.fault}"


def check(
    today: date,
    current: Traversable | None = None,
    released: Traversable | None = None,
    avro: Traversable | None = None,
) -> list[Finding]:
    """Return what the current contracts break of the last released ones; empty: nothing.

    current: folder of <dataset>.yaml; released: folder of <dataset>/<version>.yaml; avro: folder of
    <dataset>/<version>.avsc; all the package's own by default. today: in UTC, for what may go.
    Raises BadInput for a file that is no contract.
    """
    current = current or files("lake.contracts")
    released = released or files("lake.contracts").joinpath("released")
    avro = avro or files("lake.contracts").joinpath("avro")
    folders = (each for each in released.iterdir() if each.is_dir())
    findings = []
    for folder in sorted(folders, key=lambda each: each.name):
        old = _newest(folder)
        if old is not None:
            findings += breaks(old, _read(current, folder.name), today)
        findings += [Finding(folder.name, "", fault) for fault in _stale_schemas(folder, avro)]
    for file in sorted(current.iterdir(), key=lambda each: each.name):
        if file.name.endswith(".yaml"):
            new = parse(file.read_text(encoding="utf-8"), file.name)
            findings += [Finding(new.name, *fault) for fault in deprecation.faults(new)]
    return findings


def breaks(old: Contract, new: Contract | None, today: date) -> list[Finding]:
    """Return what `new` breaks of `old` on a day; None: the contract is gone."""
    if new is None:
        return [Finding(old.name, "", "removed")]
    found = [
        *_dataset_breaks(old, new),
        *_column_breaks(old, new, today),
        *_addition_breaks(old, new),
    ]
    return [Finding(old.name, column, fault) for column, fault in found]


def _stale_schemas(released: Traversable, avro: Traversable) -> Iterator[str]:
    """Yield the released versions whose Avro schema is not there or is not the contract's."""
    for file in sorted(released.iterdir(), key=lambda each: each.name):
        if not file.name.endswith(".yaml"):
            continue
        version = file.name.removesuffix(".yaml")
        contract = parse(file.read_text(encoding="utf-8"), f"{released.name}/{file.name}")
        schema = avro.joinpath(released.name).joinpath(f"{version}.avsc")
        if not schema.is_file():
            yield f"has no Avro schema of {version}: run `ticklake contracts export`"
        elif schema.read_text(encoding="utf-8") != avro_text(contract):
            yield f"Avro schema of {version} is not the contract's: released ones stay as they are"


def _dataset_breaks(old: Contract, new: Contract) -> Iterator[tuple[str, str]]:
    if new.name != old.name:
        yield "", f"renamed to {new.name}"
    if new.key != old.key:
        yield "", f"key was ({', '.join(old.key)}), now ({', '.join(new.key)})"
    if _version(new.version) < _version(old.version):
        yield "", f"version was {old.version}, now {new.version}"


def _column_breaks(old: Contract, new: Contract, today: date) -> Iterator[tuple[str, str]]:
    now = {column.name: column for column in new.columns}
    places = {name: place for place, name in enumerate(new.names)}
    for place, column in enumerate(old.columns):
        if column.name not in now:
            if fault := deprecation.removal(old, column, today):
                yield column.name, fault
            continue
        for fault in deprecation.breaks(column, now[column.name], today):
            yield column.name, fault
        yield from _changes(column, now[column.name])
        if places[column.name] != place and not set(old.names) - set(new.names):
            yield column.name, f"was column {place + 1}, now {places[column.name] + 1}"


def _changes(was: Column, now: Column) -> Iterator[tuple[str, str]]:
    if now.physical_type != was.physical_type:
        yield was.name, f"type was {was.physical_type}, now {now.physical_type}"
    if now.id != was.id:
        yield was.name, f"id was {was.id}, now {now.id}"
    if now.unit != was.unit:
        yield was.name, f"unit was {was.unit or 'none'}, now {now.unit or 'none'}"
    if now.required != was.required:
        yield was.name, "newly required" if now.required else "no longer required"


def _addition_breaks(old: Contract, new: Contract) -> Iterator[tuple[str, str]]:
    taken = {column.id: column.name for column in old.columns}
    for column in new.columns:
        if column.name in old.names:
            continue
        if column.required:
            yield column.name, "added as required; a new column is optional"
        if column.id in taken:
            yield column.name, f"added under id {column.id}, which is {taken[column.id]}'s"


def _read(folder: Traversable, dataset: str) -> Contract | None:
    file = folder.joinpath(f"{dataset}.yaml")
    return parse(file.read_text(encoding="utf-8"), file.name) if file.is_file() else None


def _newest(folder: Traversable) -> Contract | None:
    names = [each.name for each in folder.iterdir() if each.name.endswith(".yaml")]
    if not names:
        return None
    newest = folder.joinpath(max(names, key=lambda name: _version(name.removesuffix(".yaml"))))
    return parse(newest.read_text(encoding="utf-8"), f"{folder.name}/{newest.name}")


def _version(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError as error:
        raise BadInput(f"contract version {text}", "not numbers and dots", "1.0.0") from error
