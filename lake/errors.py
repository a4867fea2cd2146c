"""The exception tree: every fault that ticklake names.

    TicklakeError
    ├── WrongUse       the caller asked for something that does not exist (exit code 2)
    ├── BadInput       a file, setting or contract that can't be used as it is
    ├── BadFrame       one frame or event that a codec refuses; goes to quarantine
    ├── Refused        a venue or server said no; trying again will not help
    ├── Unavailable    a server, socket or lock is not there now; trying again may help
    ├── Fenced         a newer owner holds the lease; this process must stop writing
    ├── DiskFull       no room for what must be kept; intake stops
    └── Damaged        stored bytes are not what was written

A message says thing: fault: remedy.
"""

from __future__ import annotations


class TicklakeError(Exception):
    """Carry what is at fault, what is wrong with it, and what to do."""

    def __init__(self, thing: str, fault: str, remedy: str = "") -> None:
        self.thing = thing
        self.fault = fault
        self.remedy = remedy
        super().__init__(": ".join(part for part in (thing, fault, remedy) if part))


class WrongUse(TicklakeError):
    """The call's words are off."""


class BadInput(TicklakeError):
    """A file, setting or contract can't be used as it is."""


class BadFrame(TicklakeError):
    """A codec refuses a frame or one of its events."""


class Refused(TicklakeError):
    """A venue or a server said no; trying again will not help."""


class Unavailable(TicklakeError):
    """A server, socket or lock is not there now; trying again may help."""


class Fenced(TicklakeError):
    """A newer owner holds the lease; this process must stop writing."""


class DiskFull(TicklakeError):
    """No room for what must be kept; intake stops."""


class Damaged(TicklakeError):
    """Stored bytes are not what was written."""
