"""ticklake verify."""

from __future__ import annotations

from pathlib import Path

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
@click.argument("receipt", required=False, type=click.Path(path_type=Path))
@click.option("--full", is_flag=True, help="Trust no earlier proof; read everything again.")
@verb
def verify(settings: Settings, receipt: Path | None, full: bool) -> Answer:
    """Prove from the loss ledger that no event was lost or doubled.

    Compares journal, hot tier and lake, and says exactly where they differ; ends with 1 then.
    Safe while ingest runs; costs what is new since the last proof. Where all holds, journal
    segments older than TICKLAKE_JOURNAL_KEEP_HOURS are sealed and deleted.

    With a RECEIPT's file: make its result again, from the release of the same name in this home,
    and compare what was read and what came out, by their hashes; ends with 1 where they differ.
    """
    if receipt is not None:
        return verified(settings, receipt)
    report = prove(settings.home, full=full)
    sealed = seal(settings) if report.holds else []
    deleted = [str(each.path) for each in sealed if each.deleted]
    lines = [str(report)]
    if deleted:
        lines.append(f"{len(deleted):,} journal segments sealed and deleted")
    lines += [f"kept {each.path}: {each.reason}" for each in sealed if not each.deleted]
    return Answer({**report.as_json(), "journal_deleted": deleted}, lines, report.holds)


def verified(settings: Settings, path: Path) -> Answer:
    """Make a receipt's result again; say whether it is the same, and what else differs."""
    from flows.receipt_to_result import again
    from lake.receipts.receipt import read

    before = read(path)
    now, found = again(settings.home, before)
    holds = not any(each.fault for each in found)
    said = f"{before.kind} {before.name} on release {before.inputs.release}"
    document = {
        "receipt": before.id,
        "holds": holds,
        "before": before.result_hash,
        "now": now.result_hash,
        "differences": [
            {"what": each.what, "before": each.before, "now": each.now, "fault": each.fault}
            for each in found
        ],
    }
    verdict = "the same result" if holds else "ANOTHER RESULT"
    lines = [f"{said}: {verdict}, {now.result_hash[:16]}"]
    lines += [f"  {'differs' if each.fault else 'note'}: {each.line()}" for each in found]
    return Answer(document, lines, holds)


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
