"""Where a home's audits look, sign and leave their results."""

from __future__ import annotations

from pathlib import Path

from lake.archive.place import archive_of
from lake.audit.audit import AuditPlace
from lake.roles import role_dsn
from lake.settings import Settings
from lake.verify.verify import VERIFIER
from lake.warehouse import warehouse_of

KEY = "keys/audit.pem"
RESULTS = "audits"


def audit_key(settings: Settings) -> Path:
    """Return the file of the private key."""
    return settings.audit_key or settings.home / KEY


def results_folder(settings: Settings) -> Path:
    """Return the folder of the results."""
    return settings.home / RESULTS


def audit_place(settings: Settings) -> AuditPlace:
    """Return what is audited, with the rights of a verifier; Unavailable before `up`."""
    return AuditPlace(
        role_dsn(settings.home, VERIFIER),
        warehouse_of(settings.home, VERIFIER),
        archive_of(settings.home, settings.archive),
        results_folder(settings),
    )
