"""The servers that a verb speaks of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from infra.servers import embedded
from infra.servers.profile import Profile, profile_of
from lake.errors import BadInput, WrongUse
from lake.settings import Settings

EMBEDDED = "embedded"
"""The profile of a new home, unless another is asked for."""


def to_start(settings: Settings, home: Path) -> Profile:
    """Return the profile to start; BadInput when another one was asked for than the home's."""
    found = profile_of(home)
    if found and settings.profile not in ("", found):
        fault = f"is of the {found} profile, not of {settings.profile}"
        raise BadInput(f"home {home}", fault, "ask for that one, or for another --home")
    return started(settings, home)


def of_role(settings: Settings, role: str) -> Profile:
    """Return the profile given for a home of one role alone; WrongUse for another home."""
    found = profile_of(settings.home) or settings.profile
    if found != "given":
        fault = "is for servers that others run, and prepare"
        raise WrongUse("--role", fault, "leave it out, or say --profile given")
    from infra.servers import addresses
    from infra.servers.given import Given

    return Given(lambda: addresses.from_env(os.environ, role), prepares=False)


def started(settings: Settings, home: Path) -> Profile:
    """Return the profile that the home is of; for a new one, that which was asked for."""
    return named(profile_of(home) or settings.profile or EMBEDDED, settings)


def named(name: str, settings: Settings) -> Profile:
    """Return a profile by its name."""
    if name == EMBEDDED:
        return cast(Profile, embedded)
    if name == "given":
        from infra.servers import addresses
        from infra.servers.given import Given

        return Given(lambda: addresses.from_env(os.environ))
    from infra.native.software import Software
    from infra.native.stack import Stack

    software = Software(settings.stack_software.resolve())
    return Stack(
        software, settings.s3_bucket, settings.s3_models_bucket, settings.s3_encrypt == "on"
    )
