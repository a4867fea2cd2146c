"""The `ticklake` command: verbs in groups, each loaded when it is called.

Ends with 0 when what it says holds, 1 when it does not, 2 on wrong use.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from keyword import iskeyword

import click

from lake.errors import TicklakeError, WrongUse

NOT_HELD = 1
WRONG_USE = 2
INTERRUPTED = 130

GROUPS = {
    "Run it": {
        "up": "Start the servers.",
        "down": "Stop the servers.",
        "status": "Say what runs, where, how far, and what is wrong.",
        "demo": "Show the main job, start to proof, in under a minute.",
    },
    "Data in": {
        "ingest": "Take ticks from sockets or recordings.",
        "backfill": "Take history from venues and files; fill gaps.",
        "import": "Take an earlier database over, table by table.",
        "sim": "Run a simulated exchange, with faults by option.",
    },
    "Live": {
        "live": "Run the speed layer and the live service with its page.",
        "keys": "Say who may call the live service, and as what.",
        "kill": "Stop all trading, or let it go on.",
    },
    "Look": {
        "sql": "Query the fresh union view with DuckDB.",
        "verify": "Prove that no event was lost or doubled; or a receipt.",
        "sla": "Say whether promises are kept, by month.",
        "alerts": "List incidents, and try who is told of them.",
        "ledger": "Show, replay, verify and anchor the orders' events.",
        "audit": "Check every file of the lake, sign the result.",
        "contracts": "Say what each dataset promises.",
        "catalog": "Make a site of files that says what data there is.",
        "lineage": "Say where a column comes from, and what uses it.",
        "metrics": "Give what is measured to Prometheus.",
    },
    "Keep": {
        "bars": "Make bars of trades.",
        "retain": "Let data move on and go by the ages of its contract.",
        "cost": "Reckon what a rate of events costs a month.",
        "upkeep": "Merge small files of the lake, remove what is free.",
        "quality": "Find what is wrong or unusual in what came.",
        "quarantine": "Decide about what was refused.",
        "release": "Name a cut across all tables, and keep it.",
        "backup": "Back the database up, now or listed.",
        "restore": "Bring everything back to a moment.",
        "roles": "Say who may do what, and how to connect.",
    },
    "Research": {
        "backtest": "Run a strategy over a release, with costs.",
        "features": "Say what features there are, and what each is made of.",
        "train": "Train a model, test it on what came next, enter it.",
        "models": "List models; decide which is in use.",
    },
}
"""Verbs by group. A verb `x` is the click command `x` of the module infra.command.x; one that is a
word of Python's is `x_` there."""


class Verbs(click.Group):
    """The verbs, known by name; a module is imported when its verb is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the help."""
        return [name for verbs in GROUPS.values() for name in verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a verb."""
        if cmd_name not in self.list_commands(ctx):
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command = getattr(import_module(f"infra.command.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs in their groups, without loading them."""
        for title, verbs in GROUPS.items():
            if verbs:
                with formatter.section(title):
                    formatter.write_dl(list(verbs.items()), col_max=12, col_spacing=2)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ticklake", message="%(prog)s %(version)s")
def ticklake() -> None:
    """Market data lakehouse: exchange socket to SQL in a second, exactly once."""


def main() -> None:
    """Run the command of the command line; end the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(words: list[str]) -> int:
    """Run the command of these words; return its exit code."""
    try:
        result = ticklake.main(words, prog_name="ticklake", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        say(wrong_use(error))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("stopped")
        return INTERRUPTED
    except TicklakeError as error:
        say(str(error))
        return WRONG_USE if isinstance(error, WrongUse) else NOT_HELD
    except BrokenPipeError:
        # the reader of our output has left; what is still buffered must not fail at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOT_HELD
    except OSError as error:
        # what no verb foresaw of files and sockets: the system's word for it is clear enough
        place = error.filename or "input or output"
        say(f"{place}: {error.strerror or error}: check that it is there and ours to use")
        return NOT_HELD


def wrong_use(error: click.ClickException) -> str:
    """Return in one line what is wrong with the words, and where help is."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "ticklake"
    verb = path.removeprefix("ticklake").strip()
    parts = [verb, " ".join(error.format_message().split()).rstrip("."), f"see `{path} --help`"]
    return ": ".join(filter(None, parts))


def say(line: str) -> None:
    """Say one line on standard error."""
    click.echo(f"ticklake: {line}", err=True)


if __name__ == "__main__":
    main()
