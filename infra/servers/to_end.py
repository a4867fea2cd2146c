"""Run a program that ends by itself, and say in our words what it said when it fails."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from lake.errors import Unavailable


def run_to_end(
    words: Sequence[str],
    program: str,
    seconds_max: float,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run it; program: its name in messages; environment: None for ours.

    Raises Unavailable when it fails, is not there, or takes longer.
    """
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=seconds_max,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(program, f"took more than {seconds_max:g} s", "try again") from error
    except FileNotFoundError as error:
        raise Unavailable(program, "is not here", "install PostgreSQL's client programs") from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(program, said, "is the server up? (`ticklake status`)")
