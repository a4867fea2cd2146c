"""What every verb shares: its home, its profile, its answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from infra.command.answer import Answer, refusal
from lake.errors import TicklakeError
from lake.settings import PROFILES, from_env


def verb(run: Callable[..., Answer | None]) -> Callable[..., None]:
    """Make a function of settings and options a verb: it returns its answer, this shows it.

    Put it between `@click.command()` with its options and the function. None: it has shown all
    by itself, and it holds.
    """

    @click.option("--home", type=click.Path(path_type=Path), metavar="DIR", help=HOME_HELP)
    @click.option("--profile", type=click.Choice(PROFILES), help="Servers to run on.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
    @wraps(run)
    def shown(home: Path | None, profile: str | None, as_json: bool, **options: Any) -> None:
        try:
            settings = from_env(os.environ, home=home, profile=profile)
            if "as_json" in run.__annotations__:
                options["as_json"] = as_json
            answer = run(settings, **options)
        except TicklakeError as error:
            if as_json:
                refusal(error).show(as_json)
            raise
        if answer is not None:
            answer.show(as_json)
            if not answer.holds:
                click.get_current_context().exit(1)

    return shown


HOME_HELP = "Folder of the lake (or TICKLAKE_HOME; default .ticklake)."
OLD_HELP = "Its address; with a password by TICKLAKE_OLD_DSN, since command lines are seen by all."


def note(line: str) -> None:
    """Say something on standard error, where it is in nobody's way."""
    click.echo(line, err=True)
