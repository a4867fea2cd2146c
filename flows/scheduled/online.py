"""The online store under Prefect: the newest features served, and what is served audited.

Feast is loaded by the audit's runs alone: it takes seconds.
"""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.features_to_online import FeaturesToOnline, Step
from flows.online_to_quality import FEAST, OnlineToQuality, Run
from flows.place import place_of
from flows.scheduled.schedule import Schedule
from flows.scheduled.tries import in_one, tried
from lake.errors import Damaged
from lake.parts import ShowPart
from lake.quality.rule import row_text
from lake.state import valkey_url

ONLINE_S_MAX = 600
ROWS_SHOWN_MAX = 3


@tried("serve the newest features")
def serve_newest(home: Path | None, show: ShowPart) -> Step:
    """Write the lake's newest row of every series to the online store."""
    place = place_of(home)
    url, namespace = valkey_url(place.settings.home), place.lineage.namespace
    with FeaturesToOnline(place.dsn, place.warehouse, url, namespace=namespace) as online:
        return online.step(show)


@flow(name="features-to-online", timeout_seconds=ONLINE_S_MAX)
def features_to_online(home: Path | None = None) -> int:
    """The lake's newest features, served by the speed layer; a second call changes nothing."""
    with in_one("online features") as show:
        step = serve_newest(home, show)
    create_markdown_artifact(step.line(), key="online", description="features served")
    return int(step.written)


@tried("compare what is served")
def compare_served(home: Path | None, show: ShowPart) -> Run:
    """Compare a sample of what is served, and of what models saw live, with the lake."""
    place = place_of(home)
    url = valkey_url(place.settings.home)
    feast = import_module("feature_repo.feast_answers").FeastAnswers(url)
    with (
        feast as answers,
        OnlineToQuality(place.dsn, place.warehouse, url, others={FEAST: answers}) as audit,
    ):
        return audit.step(show)


@flow(name="online-to-quality", timeout_seconds=ONLINE_S_MAX)
def online_to_quality(home: Path | None = None) -> int:
    """What is served and what models saw live against the lake, bit for bit, a sample; it fails
    where they differ.
    """
    with in_one("online audit") as show:
        run = compare_served(home, show)
    create_markdown_artifact(run.line(), key="online-audit")
    broken = run.broken
    if broken is not None:
        first = "; ".join(map(row_text, broken.rows[:ROWS_SHOWN_MAX]))
        raise Damaged("online features", f"{run.line()}: {first}", broken.rule.remedy)
    return int(run.result.checked + run.live.result.checked)


ONLINE = Schedule("online", features_to_online, timedelta(minutes=5), at=timedelta(minutes=2))
ONLINE_AUDIT = Schedule(
    "online-audit", online_to_quality, timedelta(minutes=15), at=timedelta(minutes=8)
)
