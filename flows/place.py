"""What a flow needs to know of a lakehouse: its home says the rest."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lake.lineage.destination import Destination, destination
from lake.settings import Settings, from_env
from lake.state import postgres_dsn, read_state
from lake.warehouse import Warehouse, warehouse_of


@dataclass(frozen=True, slots=True)
class Place:
    """One lakehouse: its settings, the hot tier's address, where the lake's files lie.

    lineage: where its events of lineage go.
    """

    settings: Settings
    dsn: str
    warehouse: Warehouse
    lineage: Destination


def place_of(home: Path | None = None) -> Place:
    """Return a home's place; None: the home of the environment. Unavailable before `up`."""
    settings = settings_of(home)
    return placed(settings, postgres_dsn(settings.home))


def settings_of(home: Path | None = None) -> Settings:
    """Return the settings of a home: those of the environment, else those of the last `up`."""
    home = from_env(os.environ, home=home).home
    kept = read_state(home).get("settings", {})
    return from_env(os.environ, home=home, kept=kept)


def placed(settings: Settings, dsn: str) -> Place:
    """Return the place of these settings, whose hot tier is at dsn."""
    return Place(settings, dsn, warehouse_of(settings.home), destination(settings))
