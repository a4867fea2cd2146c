"""Which models a session asks: those that the home's route shares rows among, where a strategy
wants what they say.
"""

from __future__ import annotations

from redis import Redis

from lake.clock import Clock
from serving.session.models import Models, NoModels
from serving.session.plan import Plan
from serving.signals import models as in_use
from serving.signals.choice import ChosenModels, OutcomesSeen


def models_of(
    plan: Plan, models: in_use.Models, clock: Clock, client: Redis | None = None
) -> Models:
    """Return a session's own choice of a home's models, or nobody; one thread uses it.

    client: where a bandit's outcomes are; None for a replay, which has them of its log.
    """
    if not plan.wants_rows:
        return NoModels()
    return ChosenModels(models, clock, outcomes=OutcomesSeen(client, clock).of)
