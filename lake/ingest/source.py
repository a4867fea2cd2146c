"""What an ingest reads beside live sockets: a recording, a history, another process' parcels."""

from __future__ import annotations

import asyncio
from typing import Protocol

from lake.clock import Clock
from lake.ingest.intake import Intake


class Source(Protocol):
    """Something that ends by itself when all of it is in the journal."""

    @property
    def feed(self) -> str:
        """The feed whose codec reads its frames."""

    def claims(self) -> list[str]:
        """Return what it brings, as claims of a shard."""

    async def run(self, intake: Intake, clock: Clock, ended: asyncio.Event) -> None:
        """Hand everything in, in order, until `ended` is set."""
