"""Which models a session asks: the home's champion, where a strategy wants what it says."""

from __future__ import annotations

from lake.clock import Clock
from serving.session.models import Models, NoModels
from serving.session.plan import Plan
from serving.signals import models as in_use
from serving.signals.champion import ChampionModels


def models_of(plan: Plan, models: in_use.Models, clock: Clock) -> Models:
    """Return a session's own champion of a home's models, or nobody; one thread uses it."""
    return ChampionModels(models, clock) if plan.wants_rows else NoModels()
