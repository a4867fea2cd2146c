"""Every feature set brought up to what bars, quotes and scores there are, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from feature_repo.feature_set import IN_FORCE, MICROSTRUCTURE, feature_set
from flows.bars_to_features import BarsToFeatures
from flows.feature_maker import Step
from flows.quotes_to_features import QuotesToFeatures
from lake.clock import Clock
from lake.lineage.destination import NAMESPACE
from lake.parts import ShowPart, each_within, nobody
from lake.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class Made:
    """What a run did for a set."""

    name: str
    step: Step

    def line(self) -> str:
        """Return it in words."""
        if not self.step.put:
            return f"{self.name}: nothing has changed"
        return f"{self.name}: {self.step.line()}"


def every_set(
    dsn: str,
    warehouse: Warehouse,
    *,
    names: Sequence[str] = tuple(IN_FORCE),
    clock: Clock | None = None,
    namespace: str = NAMESPACE,
    show: ShowPart = nobody,
) -> list[Made]:
    """Add what lacks to the sets of these names, of the versions in force.

    show: is told how far it is. Raises WrongUse for an unknown set; Unavailable when another run
    was first: call it again.
    """
    done = []
    for name, part in each_within(names, show):
        made = feature_set(name)
        if name == MICROSTRUCTURE.name:
            with QuotesToFeatures(
                dsn, warehouse, clock=clock, namespace=namespace, made=made
            ) as quotes:
                done.append(Made(name, quotes.drain()))
        else:
            with BarsToFeatures(
                dsn, warehouse, clock=clock, namespace=namespace, made=made
            ) as bars:
                done.append(Made(name, bars.step(part)))
        part(1.0)
    return done
