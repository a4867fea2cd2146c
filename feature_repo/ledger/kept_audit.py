"""An audit of orders as it is kept: signed, chained with the other audits of the home."""

from __future__ import annotations

import psycopg

from feature_repo.ledger.coverage import audit_orders
from feature_repo.ledger.places import ledger_key, second_place
from feature_repo.ledger.projection import project
from lake.audit.places import audit_key, results_folder
from lake.audit.results import Kept, keep
from lake.audit.signing import signer_at
from lake.client import connect
from lake.clock import Clock, utc_from_us
from lake.parts import ShowPart, nobody
from lake.settings import Settings

READS_AS = "verifier"
PROJECTED_PART, TRACED_PART = 0.2, 0.9
"""How far an audit is reckoned to be once the tables are up to the events, and all is traced."""


def audit_and_keep(
    settings: Settings, dsn: str, clock: Clock, show: ShowPart = nobody
) -> tuple[Kept, list[str]]:
    """Audit the orders of a home; return the kept result, and it in words.

    show: is told how far it is.
    """
    project(dsn, clock)
    show(PROJECTED_PART)
    public = signer_at(ledger_key(settings)).public
    with connect(settings.home, role=READS_AS) as lake:
        found = audit_orders(dsn, second_place(settings, clock), public, lake)
    show(TRACED_PART)
    now = utc_from_us(clock.now_us())
    signer = signer_at(audit_key(settings))
    with psycopg.connect(dsn) as connection:
        document = {**found.document(), "ran_at": now.isoformat()}
        kept = keep(connection, results_folder(settings), signer, document, now)
    return kept, found.lines()
