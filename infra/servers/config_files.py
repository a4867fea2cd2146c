"""Files in infra/config: one truth for servers of every profile, in compose and in Kubernetes."""

from __future__ import annotations

from pathlib import Path

CONFIG = Path(__file__).parents[1] / "config"


def lines(path: Path) -> list[str]:
    """Return the lines of a file that say something."""
    stripped = (line.strip() for line in path.read_text().splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def variables(path: Path) -> dict[str, str]:
    """Return the variables of a file of NAME=value lines."""
    pairs = (line.partition("=") for line in lines(path))
    return {name: value for name, _, value in pairs}
