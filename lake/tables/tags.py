"""Points of time that a table can be taken back to: a tag an hour, a tag a day.

Snapshots between are kept for minutes only, since their number is what a commit costs. A tag is
named after the hour or day (UTC) that begins with it, `hour-2026-11-25T16` or `day-2026-11-25`, and
holds every file that its snapshot needs until it goes; a release's tags are named otherwise and
never go here.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyiceberg.catalog.sql import SqlCatalog

from lake.tables.commit import faults_of
from lake.tables.names import NAMESPACE

HOUR, DAY = "hour-%Y-%m-%dT%H", "day-%Y-%m-%d"
FORMS = ((HOUR, timedelta(hours=24)), (DAY, timedelta(days=30)))
"""How a tag is named, and how long it is kept."""


@dataclass(frozen=True, slots=True)
class TagPlan:
    """Names of tags that the head should get, and of those whose time is over."""

    due: tuple[str, ...]
    over: tuple[str, ...]


def plan_tags(names: Collection[str], now: datetime) -> TagPlan:
    """Return what to do at a moment (UTC) with the tags that are there."""
    due, over = [], []
    for form, kept in FORMS:
        name = now.astimezone(UTC).strftime(form)
        if name not in names:
            due.append(name)
        times = {each: tag_time(each, form) for each in names}
        over += [each for each, at in times.items() if at is not None and at < now - kept]
    return TagPlan(tuple(due), tuple(sorted(over)))


def tag_time(name: str, form: str) -> datetime | None:
    """Return the hour or day that a tag stands for; None for a tag of another kind."""
    try:
        return datetime.strptime(f"{name}+0000", f"{form}%z")
    except ValueError:
        return None


def keep_tags(
    catalog: SqlCatalog, dataset: str, now: datetime, commit_lock: AbstractContextManager[object]
) -> TagPlan:
    """Tag the head where an hour or day has begun, let go of what is over; return what was done.

    Raises Fenced, or Unavailable when somebody else changed the table meanwhile: look again.
    """
    with commit_lock, faults_of(dataset):
        table = catalog.load_table((NAMESPACE, dataset))
        head = table.current_snapshot()
        plan = plan_tags(table.metadata.refs.keys(), now)
        if head is None or not (plan.due or plan.over):
            return TagPlan((), ())
        change = table.manage_snapshots()
        for name in plan.due:
            change = change.create_tag(head.snapshot_id, name)
        for name in plan.over:
            change = change.remove_tag(name)
        change.commit()
        return plan
