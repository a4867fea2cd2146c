"""The servers that a verb speaks of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from infra.servers import embedded
from infra.servers.profile import Profile, profile_of
from lake.errors import BadInput
from lake.settings import Settings


def to_start(settings: Settings, home: Path) -> Profile:
    """Return the profile that was asked for; BadInput for a home of another one."""
    found = profile_of(home)
    if found not in (None, settings.profile):
        fault = f"is of the {found} profile, not of {settings.profile}"
        raise BadInput(f"home {home}", fault, f"add --profile {found}, or choose another --home")
    return named(settings.profile, settings)


def started(settings: Settings, home: Path) -> Profile:
    """Return the profile that the home is of; for a new one, that which was asked for."""
    return named(profile_of(home) or settings.profile, settings)


def named(name: str, settings: Settings) -> Profile:
    """Return a profile by its name."""
    if name == "embedded":
        return cast(Profile, embedded)
    if name == "given":
        from infra.servers import addresses
        from infra.servers.given import Given

        return Given(lambda: addresses.from_env(os.environ))
    from infra.native.software import Software
    from infra.native.stack import Stack

    return Stack(Software(settings.stack_software.resolve()))
