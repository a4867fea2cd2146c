"""What the flows that Prefect knows have in common: which faults are tried again, how far it is.

A flow can be called like any function, and what it wraps needs no Prefect: the command's verbs call
that. Retries are of servers' faults only; what is wrong with the data stays wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar
from uuid import UUID

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff

from lake.errors import Unavailable

RETRIES_MAX = 4
BACKOFF_S = 2

P = ParamSpec("P")
R = TypeVar("R")


class Progress:
    """A bar of progress in Prefect's UI. It moves by whole percents: each is a request."""

    def __init__(self, of: str) -> None:
        made = create_progress_artifact(0.0, description=of)
        assert isinstance(made, UUID)
        self._id = made
        self._percent = 0

    def show(self, part: float) -> None:
        """Move it to a part of the whole, 0 to 1."""
        percent = int(100 * min(1.0, part))
        if percent != self._percent:
            self._percent = percent
            update_progress_artifact(self._id, float(percent))


@contextmanager
def in_one(of: str) -> Iterator[Callable[[float], None]]:
    """Show how far a piece of work is, its end at the latest; yield what shows parts of it."""
    progress = Progress(of)
    yield progress.show
    progress.show(1.0)


def is_passing(_task: Task[..., object], _run: TaskRun, state: State[object]) -> bool:
    """Tell whether another try may help: a server, a lock or a race, and not the data."""
    try:
        state.result()
    except Unavailable:
        return True
    except Exception:
        return False
    return False


def tried(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a task of a function: passing faults are tried RETRIES_MAX times more, ever later."""
    return task(
        name=name,
        retries=RETRIES_MAX,
        retry_delay_seconds=exponential_backoff(BACKOFF_S),
        retry_condition_fn=is_passing,
    )


def micros(time: datetime) -> int:
    """Return microseconds since the epoch; a time without zone is UTC."""
    zoned = time if time.tzinfo else time.replace(tzinfo=UTC)
    return int(zoned.timestamp()) * 1_000_000
