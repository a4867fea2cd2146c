"""What verbs do by hand, told of as lineage: under Prefect the flows' own hooks tell it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lake.clock import SystemClock
from lake.lineage.destination import destination
from lake.lineage.job import Job
from lake.lineage.run import Run, Teller
from lake.settings import Settings
from lake.state import postgres_dsn


@contextmanager
def told(settings: Settings, job: Job) -> Iterator[Run]:
    """Tell that a run of a job began and how it ended; its fault goes on to the caller."""
    teller = Teller(postgres_dsn(settings.home), SystemClock(), destination(settings).namespace)
    with teller.run(job) as run:
        yield run
