"""ticklake audit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.settings import Settings

if TYPE_CHECKING:
    from lake.audit.results import Kept


@click.group()
def audit() -> None:
    """Control totals and checksums of the whole lake, signed and kept."""


@audit.command()
@click.option("--sample", type=click.IntRange(0), default=64, show_default=True, metavar="FILES",
              help="Data files to decode again.")  # fmt: skip
@verb
def run(settings: Settings, sample: int) -> Answer:
    """Audit everything now; ends with 1 where something is not as it was written.

    Reads every file of the lake and of the archive once. The result is signed with the key of
    TICKLAKE_AUDIT_KEY, or of HOME/keys/audit.pem, which the first audit makes, and is kept in
    HOME/audits and in the database, each with the digest of the one before. A flow does it daily.
    """
    from flows.jobs import AUDIT
    from infra.command.told import told
    from lake.audit.audit import run_audit
    from lake.audit.places import audit_key, audit_place
    from lake.audit.signing import signer_at
    from lake.clock import SystemClock

    signer = signer_at(audit_key(settings))
    with told(settings, AUDIT):
        kept = run_audit(audit_place(settings), signer, SystemClock(), sample_files=sample)
    lines = [kept.line(), *(f"  {fault}" for fault in kept.document["faults"])]
    return Answer(document(kept), [*lines, f"signed by {kept.key_id}"], kept.holds)


@audit.command("list")
@verb
def list_all(settings: Settings) -> Answer:
    """List the results, oldest first; --json has each in full."""
    import psycopg

    from lake.audit.results import kept_results
    from lake.state import postgres_dsn

    with psycopg.connect(postgres_dsn(settings.home)) as connection:
        found = kept_results(connection)
    lines = [each.line() for each in found]
    return Answer({"audits": [document(each) for each in found]}, lines or ["no audit"])


@audit.command()
@click.option("--key", type=click.Path(path_type=Path), metavar="FILE",
              help="Public key, PEM; default: beside the private one.")  # fmt: skip
@verb
def check(settings: Settings, key: Path | None) -> Answer:
    """Check that no result was edited, inserted or removed; ends with 1 where one was.

    Give --key a copy of the public key that was kept elsewhere: whoever can sign can also replace
    the key that lies here.
    """
    import psycopg

    from lake.audit.places import audit_key, results_folder
    from lake.audit.results import faults_of_results, kept_results
    from lake.audit.signing import public_key_at, public_path
    from lake.state import postgres_dsn

    public = public_key_at(key or public_path(audit_key(settings)))
    with psycopg.connect(postgres_dsn(settings.home)) as connection:
        count = len(kept_results(connection))
        faults = list(faults_of_results(connection, results_folder(settings), public))
    lines = faults or [f"{count:,} results are as they were signed, by {public.id}"]
    return Answer({"audits": count, "key": public.id, "faults": faults}, lines, holds=not faults)


def document(kept: Kept) -> dict[str, object]:
    """Return a result with its signature."""
    return {**kept.document, "signature": kept.signature, "key": kept.key_id}
