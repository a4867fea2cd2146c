"""Variables of the environment that settings are read from: their names and texts; pure."""

from __future__ import annotations

from pathlib import Path

from lake.errors import BadInput

PREFIX = "TICKLAKE_"
TEST_PREFIX = "TICKLAKE_TEST_"
"""Variables that the tests read for themselves."""


def is_ours(name: str) -> bool:
    """Tell whether a variable is to be a setting."""
    return name.startswith(PREFIX) and not name.startswith(TEST_PREFIX)


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def parsed(name: str, kind: str, text: str) -> object:
    """Read a setting's text as its field's type."""
    if kind.startswith("Path"):
        return Path(text).expanduser()
    if kind != "int":
        return text
    try:
        return int(text.replace("_", ""))
    except ValueError as error:
        raise BadInput(
            variable(name), f"{text!r} is no whole number", "write it as 1000"
        ) from error


def names(choices: tuple[str, ...] | list[str]) -> str:
    """Say what there is to choose from."""
    return f"one of {', '.join(choices)}"
