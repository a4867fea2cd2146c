"""A receipt: what a result was made of, and its hash.

One JSON document. Whoever has it, the same rows and this code makes the result again and compares:
what was read and what came out are named by digests of their values, so that another home, another
day and a lake whose files were merged meanwhile give the same. Snapshots, code and libraries are
said, too: where a result differs, they say what else does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from lake.errors import BadInput
from lake.receipts.code_version import code_hash, library_versions
from lake.receipts.digest import table_digest, tables_digest

FORMAT = "ticklake-receipt-1"
ID_LENGTH = 16
FOLDER = "receipts"
"""Where a home keeps them."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a result is made of.

    release: its name. snapshots: dataset -> Iceberg snapshot, as evidence. data: name of what was
    read -> digest of its rows. spans: of what was read -> the time that its rows cover, FIRST/LAST
    in ISO 8601. features, models: name -> version. config: everything that was chosen, as JSON has
    it. seed: of every random choice; 0 where there is none.
    """

    release: str
    data: Mapping[str, str]
    config: Mapping[str, Any]
    snapshots: Mapping[str, int] = field(default_factory=dict)
    features: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    spans: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Receipt:
    """kind: backtest or model; name: of the strategy or model.

    result: table or artefact -> digest. code: hash of the packages. made: UTC, ISO 8601.
    """

    kind: str
    name: str
    inputs: Inputs
    result: Mapping[str, str]
    code: str
    libraries: Mapping[str, str]
    made: str

    @property
    def result_hash(self) -> str:
        """Return one digest of the whole result."""
        return tables_digest(self.result)

    @property
    def id(self) -> str:
        """Return the name of what was made of what: the same for the same, whenever it is made."""
        said = {k: v for k, v in self.document().items() if k not in ("made", "libraries", "code")}
        said["inputs"] = {k: v for k, v in said["inputs"].items() if k != "snapshots"}
        return hashlib.sha256(canonical(said)).hexdigest()[:ID_LENGTH]

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        inputs = {each.name: getattr(self.inputs, each.name) for each in fields(Inputs)}
        if not self.inputs.spans:
            del inputs["spans"]  # receipts of before have none, and keep their id
        own = {each.name: getattr(self, each.name) for each in fields(Receipt)}
        return {
            "format": FORMAT,
            **own,
            "inputs": {k: dict(v) if isinstance(v, Mapping) else v for k, v in inputs.items()},
            "result": dict(self.result),
            "result_hash": self.result_hash,
            "libraries": dict(self.libraries),
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two receipts differ; fault: the result is another, else it is only to be known."""

    what: str
    before: str
    now: str
    fault: bool

    def line(self) -> str:
        """Return it in words."""
        return f"{self.what}: was {self.before or 'none'}, is {self.now or 'none'}"


def receipt_of(
    kind: str, name: str, inputs: Inputs, result: Mapping[str, pa.Table | str], now: datetime
) -> Receipt:
    """Return the receipt of a result made now by this code; result: tables, or digests of them."""
    digests = {
        part: made if isinstance(made, str) else table_digest(made) for part, made in result.items()
    }
    made = now.isoformat(timespec="seconds")
    return Receipt(kind, name, inputs, digests, code_hash(), library_versions(), made)


def differences(before: Receipt, now: Receipt) -> list[Difference]:
    """Return where they differ, faults first: data and result; then code and libraries."""
    found = [
        *_differing("data", before.inputs.data, now.inputs.data, fault=True),
        *_differing("result", before.result, now.result, fault=True),
        *_differing("model", before.inputs.models, now.inputs.models, fault=True),
        *_differing("feature", before.inputs.features, now.inputs.features, fault=True),
    ]
    if before.code != now.code:
        found.append(Difference("code", before.code[:12], now.code[:12], fault=False))
    found += _differing("library", before.libraries, now.libraries, fault=False)
    return found


def save(receipt: Receipt, folder: Path) -> Path:
    """Write it to folder/<kind>-<name>-<id>.json, whole or not at all; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{receipt.kind}-{receipt.name}-{receipt.id}.json"
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(receipt.document(), indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)
    return path


def read(path: Path) -> Receipt:
    """Return the receipt of a file; BadInput where it is none, or was changed by hand."""
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != FORMAT:
            raise BadInput(str(path), f"is {document['format']}", f"give a {FORMAT}")
        receipt = Receipt(
            **{
                **{each.name: document[each.name] for each in fields(Receipt)},
                "inputs": Inputs(**document["inputs"]),
            }
        )
        said = document["result_hash"]
    except OSError as error:
        raise BadInput(str(path), str(error.strerror), "name a receipt's file") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(str(path), f"is no receipt ({error})", "name a receipt's file") from error
    if said != receipt.result_hash:
        fault = "its result_hash is not that of its result"
        raise BadInput(str(path), fault, "it was changed by hand: take the original")
    return receipt


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return a document as bytes, the same for the same."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _differing(
    what: str, before: Mapping[str, str], now: Mapping[str, str], *, fault: bool
) -> list[Difference]:
    return [
        Difference(f"{what} {name}", before.get(name, ""), now.get(name, ""), fault)
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
