"""One flow on its schedule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prefect import Flow


@dataclass(frozen=True, slots=True)
class Schedule:
    """A flow that runs by itself: its name for the operator, how often."""

    name: str
    flow: Flow[..., Any]
    every: timedelta
