"""What a verb answers: one document for machines, lines for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from lake.errors import TicklakeError


@dataclass(frozen=True)
class Answer:
    """document: printed by --json. lines: printed without. holds: False ends the command with 1."""

    document: Mapping[str, Any] = field(default_factory=dict)
    lines: Sequence[str] = ()
    holds: bool = True

    def show(self, as_json: bool) -> None:
        """Print it on standard output."""
        if as_json:
            click.echo(json.dumps(self.document, indent=2, default=str))
        else:
            for line in self.lines:
                click.echo(line)


def refusal(error: TicklakeError) -> Answer:
    """Return an error as an answer."""
    parts = {"thing": error.thing, "fault": error.fault, "remedy": error.remedy}
    return Answer({"error": {"kind": type(error).__name__, **parts}}, (), holds=False)
