"""A lakehouse by hand that is audited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

from lake.archive.place import ArchivePlace
from lake.audit.audit import AuditPlace, run_audit
from lake.audit.results import Kept, faults_of_results
from lake.audit.signing import Signer, signer_at
from lake.clock import ManualClock
from lake.warehouse import Folder
from tests.verify.lakehouse import Lakehouse

CLOCK = ManualClock()


class Audited(Lakehouse):
    """A lakehouse, its key and its results."""

    @property
    def folder(self) -> Path:
        assert isinstance(self.warehouse, Path)
        return self.warehouse.parent

    @property
    def results(self) -> Path:
        return self.folder / "audits"

    @property
    def signer(self) -> Signer:
        return signer_at(self.folder / "keys" / "audit.pem")

    def audit(self, **options: Any) -> Kept:
        archive = ArchivePlace(Folder(self.folder / "archive"))
        place = AuditPlace(self.dsn, self.place, archive, self.results)
        CLOCK.advance(1_000_000)
        return run_audit(place, self.signer, CLOCK, **options)

    def faults(self) -> list[str]:
        return [str(each) for each in self.audit().document["faults"]]

    def faults_of_results(self) -> list[str]:
        with psycopg.connect(self.dsn) as connection:
            return list(faults_of_results(connection, self.results, self.signer.public))

    def edit(self, statement: str) -> None:
        """Do what only the owner of the database can, past the trigger."""
        with psycopg.connect(self.dsn) as connection:
            connection.execute("ALTER TABLE market.audits DISABLE TRIGGER appended_only")
            connection.execute(statement.encode())
            connection.execute("ALTER TABLE market.audits ENABLE TRIGGER appended_only")

    def files(self) -> list[Path]:
        tasks = self.table().scan().plan_files()
        return [Path(task.file.file_path.removeprefix("file://")) for task in tasks]
