"""The daily audit under Prefect."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.place import place_of
from flows.scheduled.schedule import Schedule
from flows.scheduled.tries import in_one, tried
from lake.audit.audit import SAMPLE_FILES, run_audit
from lake.audit.places import audit_key, audit_place
from lake.audit.results import Kept
from lake.audit.signing import signer_at
from lake.clock import SystemClock
from lake.errors import Damaged
from lake.parts import ShowPart

AUDIT_S_MAX = 12 * 3_600


@tried("audit the lake")
def audit_lake(home: Path | None, sample_files: int, show: ShowPart) -> Kept:
    """Count, check and sample the whole lake; sign the result and keep it."""
    settings = place_of(home).settings
    signer = signer_at(audit_key(settings))
    place, clock = audit_place(settings), SystemClock()
    return run_audit(place, signer, clock, sample_files=sample_files, show=show)


@flow(name="lake-to-audit", timeout_seconds=AUDIT_S_MAX)
def lake_to_audit(home: Path | None = None, sample_files: int = SAMPLE_FILES) -> str:
    """Control totals and checksums over the whole lake, a sample read again, signed and kept."""
    with in_one("audit") as show:
        kept = audit_lake(home, sample_files, show)
    faults = kept.document["faults"]
    lines = [kept.line(), *(f"- {fault}" for fault in faults), f"signed by `{kept.key_id}`"]
    create_markdown_artifact("\n".join(lines), key="audit")
    if faults:
        raise Damaged("audit", "; ".join(faults), "restore these files, then `ticklake verify`")
    return kept.line()


AUDIT = Schedule("audit", lake_to_audit, timedelta(days=1), at=timedelta(hours=2))
