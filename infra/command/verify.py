"""ticklake verify."""

from __future__ import annotations

import click
import psycopg

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.clock import SystemClock
from lake.ingest.codecs import codecs
from lake.roles import role_dsn
from lake.settings import Settings
from lake.verify.journal_to_sealed import Sealed, seal_due
from lake.verify.verify import VERIFIER
from lake.verify.verify import verify as prove
from lake.warehouse import warehouse_of


@click.command()
@click.option("--full", is_flag=True, help="Trust no earlier proof; read everything again.")
@verb
def verify(settings: Settings, full: bool) -> Answer:
    """Prove from the loss ledger that no event was lost or doubled.

    Compares journal, hot tier and lake, and says exactly where they differ; ends with 1 then.
    Safe while ingest runs; costs what is new since the last proof. Where all holds, journal
    segments older than TICKLAKE_JOURNAL_KEEP_HOURS are sealed and deleted.
    """
    report = prove(settings.home, full=full)
    sealed = seal(settings) if report.holds else []
    deleted = [str(each.path) for each in sealed if each.deleted]
    lines = [str(report)]
    if deleted:
        lines.append(f"{len(deleted):,} journal segments sealed and deleted")
    lines += [f"kept {each.path}: {each.reason}" for each in sealed if not each.deleted]
    return Answer({**report.as_json(), "journal_deleted": deleted}, lines, report.holds)


def seal(settings: Settings) -> list[Sealed]:
    """Seal and delete the journal segments whose age has come."""
    dsn = role_dsn(settings.home, VERIFIER)
    with psycopg.connect(dsn, autocommit=True) as connection:
        return seal_due(
            connection,
            dsn,
            settings.home / "journal",
            codecs(),
            SystemClock(),
            keep_hours=settings.journal_keep_hours,
            bytes_max=settings.journal_bytes_max,
            warehouse=warehouse_of(settings.home, VERIFIER),
        )
