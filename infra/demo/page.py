"""What the demonstration prints: numbered steps, SQL, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from lake.clock import Clock

INDENT = 3
COLUMN_GAP = "   "
PLAIN_COLUMNS = 100
"""Width where there is no terminal."""


class Page:
    """Lines on standard output, or on standard error where a document goes to standard output."""

    def __init__(self, clock: Clock, *, stderr: bool) -> None:
        self._console = Console(stderr=stderr, highlight=False)
        if not self._console.is_terminal:
            self._console = Console(stderr=stderr, highlight=False, width=PLAIN_COLUMNS)
        self._clock = clock
        self._start_us = clock.monotonic_us()
        self._step = 0

    @property
    def width(self) -> int:
        """Columns for what is indented."""
        return self._console.width - INDENT

    def spent_s(self) -> float:
        """Return seconds since the start."""
        return (self._clock.monotonic_us() - self._start_us) / 1e6

    def title(self, line: str) -> None:
        """Write the first line."""
        self._print(Text(line, "bold"))

    def step(self, line: str) -> None:
        """Begin a step; the seconds since the start stand after it."""
        self._step += 1
        self._print(
            Text.assemble(
                "\n",
                (f"{self._step}  ", "bold cyan"),
                (line, "bold"),
                (f"  {self.spent_s():.1f} s", "dim"),
            )
        )

    def line(self, line: str | Text, style: str = "") -> None:
        """Write an indented line, whatever its length."""
        text = line.copy() if isinstance(line, Text) else Text(line, style)
        text.rstrip()
        self._print(Text(" " * INDENT) + text if text else text)

    def sql(self, sql: str) -> None:
        """Write a query."""
        for line in sql.splitlines():
            self.line(line, "blue")

    def chart(self, chart: Text) -> None:
        """Write a drawing."""
        for line in chart.split("\n"):
            self.line(line)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Write rows below their header; numbers are at the right, their thousands apart."""
        found: list[Sequence[Any]] = list(rows)
        numeric = [bool(found) and isinstance(value, _NUMBER) for value in (found or [columns])[0]]
        texts = [[_written(value) for value in row] for row in [columns, *found]]
        widths = [max(map(cell_len, column)) for column in zip(*texts, strict=True)]
        lines = [
            COLUMN_GAP.join(
                text.rjust(width) if number else text.ljust(width)
                for text, width, number in zip(row, widths, numeric, strict=True)
            )
            for row in texts
        ]
        self.line("")
        self.line(lines[0], "dim")
        self.line("─" * len(lines[0]), "dim")
        for line in lines[1:]:
            self.line(line)

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)


_NUMBER = (int, float, Decimal)


def _written(value: object) -> str:
    """Return a value as a person reads it."""
    return f"{value:,}" if isinstance(value, _NUMBER) else str(value)
