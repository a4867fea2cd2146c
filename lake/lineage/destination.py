"""Where a home's events of lineage go, and under which namespace: by the settings, else as at `up`.

Processes that `up` starts have an environment of their own; what was set then is in the state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lake.settings import Settings
from lake.state import read_state

NAMESPACE = "ticklake"
OFF = "off"


@dataclass(frozen=True, slots=True)
class Destination:
    """The receiver's address and key, "" for none, and the namespace of our names."""

    url: str = ""
    api_key: str = field(default="", repr=False)
    namespace: str = NAMESPACE

    def document(self) -> dict[str, str]:
        """Return it as the home's state keeps it."""
        return asdict(self)


def destination(settings: Settings, state: Mapping[str, Any] | None = None) -> Destination:
    """Return where events go; `off` unsets the receiver, nothing leaves what the state has.

    state: the home's, read from it by default.
    """
    known = (read_state(settings.home) if state is None else state).get("lineage", {})
    url = settings.lineage_url or str(known.get("url", ""))
    if url == OFF:
        url = ""
    # a key belongs to the address that it was given with
    key = settings.lineage_api_key or (
        str(known.get("api_key", "")) if url == known.get("url") else ""
    )
    namespace = settings.lineage_namespace or str(known.get("namespace", "")) or NAMESPACE
    return Destination(url, key if url else "", namespace)
