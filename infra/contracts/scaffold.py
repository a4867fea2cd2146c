"""The parts of a new dataset, as files of this tree that pass its checks from the start.

A contract with its first release and Avro schema, the migration that makes its table, the flow that
takes rows of a file into it, and the suite of its promises. From there its rows go to the lake, to
the view of both, and to the catalog as those of every dataset that flows write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

from lake.contracts.avro_schema import avro_text
from lake.contracts.contract import DATASETS, parse
from lake.contracts.postgres_ddl import create_table_sql
from lake.errors import BadInput, WrongUse

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
NAME_LENGTH_MAX = 40
NUMBER = "row_no"
VERSION = "1.0.0"
CONTRACTS = "lake/contracts"
REGISTER = f"{CONTRACTS}/contract.py"
REGISTERED = re.compile(r"(NUMBERED_DATASETS: Mapping\[str, str\] = \{)([^}]*?),?\s*(\})")


def scaffold(name: str, owner: str, root: Path) -> dict[Path, str]:
    """Return path -> text of what a new dataset needs, the register changed.

    root: a checkout of ticklake. Raises WrongUse for a name that is taken or none, BadInput where
    root is no checkout.
    """
    if not NAME.fullmatch(name) or len(name) > NAME_LENGTH_MAX:
        remedy = f"small letters, digits, _ between, {NAME_LENGTH_MAX} at most, as open_interest"
        raise WrongUse(f"dataset {name!r}", "is no name", remedy)
    if not NAME.fullmatch(owner.replace("-", "_")):
        raise WrongUse(f"owner {owner!r}", "is no name", "small letters, as market-data")
    if name in DATASETS:
        raise WrongUse(f"dataset {name}", "is there already", "choose another name")
    register = root / REGISTER
    if not register.is_file():
        raise BadInput(str(root), "is no checkout of ticklake", "go to one, or give --into")
    words = {"name": name, "owner": owner, "title": name.replace("_", " "), "number": NUMBER}
    text = _filled("contract.yaml", words)
    contract = parse(text, name)
    migration = f"{_next_number(root):04d}_{name}.sql"
    made = {
        f"{CONTRACTS}/{name}.yaml": text,
        f"{CONTRACTS}/released/{name}/{VERSION}.yaml": text,
        f"{CONTRACTS}/avro/{name}/{VERSION}.avsc": avro_text(contract),
        f"warehouse_sql/migrations/{migration}": _filled(
            "migration.sql", {**words, "table": create_table_sql(contract)}
        ),
        f"flows/file_to_{name}.py": _filled("mover.py", words),
        f"flows/scheduled/{name}.py": _filled("flow.py", words),
        f"tests/flows/test_file_to_{name}.py": _filled("suite.py", words),
        REGISTER: _registered(register.read_text(encoding="utf-8"), name),
    }
    taken = [path for path in made if path != REGISTER and (root / path).exists()]
    if taken:
        raise WrongUse(taken[0], "is there already", "choose another name")
    return {root / path: content for path, content in made.items()}


def write(made: Mapping[Path, str]) -> None:
    """Write the files, the register last: a run that dies before has registered nothing."""
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _registered(text: str, name: str) -> str:
    found = REGISTERED.search(text)
    if found is None:
        raise BadInput(REGISTER, "has no NUMBERED_DATASETS to add to", "add the dataset by hand")
    entries = [each.strip() for each in found[2].split(",") if each.strip()]
    entries.append(f'"{name}": "{NUMBER}"')
    body = "".join(f"    {each},\n" for each in entries)
    return f"{text[: found.start()]}{found[1]}\n{body}{found[3]}{text[found.end() :]}"


def _next_number(root: Path) -> int:
    names = [path.name for path in (root / "warehouse_sql/migrations").glob("[0-9]*.sql")]
    return max((int(name.split("_")[0]) for name in names), default=0) + 1


def _filled(template: str, words: Mapping[str, str]) -> str:
    raw = files("infra.contracts").joinpath("dataset", f"{template}.txt").read_text("utf-8")
    return Template(raw).substitute(words)
