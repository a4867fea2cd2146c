"""Quantities and times as people write them: 90s, 5m, 300k, 2024-08-08."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import click

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
COUNTS = {"": 1, "k": 1_000, "M": 1_000_000}
TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S"])
TIME_HELP = "UTC, as 2024-08-08 or 2024-08-08T12:30."


class Duration(click.ParamType[float]):
    """A time span in seconds, written 500ms, 90s, 5m, 2h or 1d; a bare number is seconds."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", str(value))
        if found is None:
            self.fail(f"{value!r} is no time: write 500ms, 90s, 5m, 2h or 1d", param, ctx)
        return float(found[1]) * SECONDS[found[2] or "s"]


class Count(click.ParamType[int]):
    """A whole number, written 1000, 300k or 2M."""

    name = "number"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the number."""
        found = re.fullmatch(r"([\d_]+)([kM]?)", str(value))
        if found is None:
            self.fail(f"{value!r} is no number: write 1000, 300k or 2M", param, ctx)
        return int(found[1]) * COUNTS[found[2]]


def micros(time: datetime) -> int:
    """Return microseconds since the epoch of a time without zone, taken as UTC."""
    return int(time.replace(tzinfo=UTC).timestamp()) * 1_000_000
