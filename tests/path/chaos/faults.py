"""Faults at named steps inside one process."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from lake.steps import NAMES, LostAnswer, Steps


class Crash(BaseException):
    """The process died here: nothing of it may be used again."""


class ArmedSteps(Steps):
    """Steps at which one thing happens when it is armed; tells an observer of every arrival."""

    def __init__(self, observe: Callable[[str], None] | None = None) -> None:
        super().__init__()
        self._observe = observe
        self._name = ""
        self._skip = 0
        self._times = 0
        self._act: Callable[[], None] = lambda: None

    def arm(self, name: str, act: Callable[[], None], *, nth: int = 1, times: int = 1) -> None:
        """Do act at the nth arrival (from 1) at a step, and at the next ones, times in all."""
        assert name in NAMES, name
        self._name, self._act, self._skip, self._times = name, act, nth - 1, times

    def disarm(self) -> None:
        """Let every step pass."""
        self._times = 0

    def at(self, name: str) -> None:
        """Note the arrival; do what is armed if this is its turn."""
        if self._observe is not None:
            self._observe(name)
        if name != self._name or self._times == 0:
            return
        if self._skip:
            self._skip -= 1
            return
        self._times -= 1
        self._act()


def raising(fault: str, name: str) -> Callable[[], None]:
    """Return what raises a fault by its name: crash, lost-answer, or an errno's name."""

    def act() -> None:
        if fault == "crash":
            raise Crash(name)
        if fault == "lost-answer":
            raise LostAnswer(name)
        number = getattr(errno, fault)
        raise OSError(number, os.strerror(number), name)

    return act
