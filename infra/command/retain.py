"""ticklake retain."""

from __future__ import annotations

import click

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.settings import Settings


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would go and what the tiers cost.")
@verb
def retain(settings: Settings, dry_run: bool) -> Answer:
    """Let data move on by the ages of its contract: hot, lake, archive, gone.

    A day leaves a tier only when the next one is proven to hold it, by the loss ledger; releases
    and tags keep what they pin. History that came late ages from the day it came. Ends with 1
    where a proof failed. Ages: ticklake contracts show TABLE. The archive is the folder `archive`
    of the home, or TICKLAKE_ARCHIVE.
    """
    from flows.hot_to_archive import document, retention_of
    from flows.place import place_of
    from lake.clock import SystemClock

    mover = retention_of(place_of(settings.home), SystemClock())
    found = mover.plan() if dry_run else mover.run()
    return Answer(document(found), found.lines(), holds=found.holds)
