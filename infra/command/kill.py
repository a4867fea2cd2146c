"""ticklake kill."""

from __future__ import annotations

import getpass
import os
from contextlib import closing
from pathlib import Path

import click
from redis import Redis
from redis.exceptions import RedisError

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.clock import SystemClock
from lake.errors import Unavailable
from lake.settings import Settings
from lake.state import valkey_url
from serving.risk.kill_switch import KILLED, REASON_CHARS_MAX, KillSwitch, Word
from serving.streams.connect import connected


@click.command()
@click.option("--release", is_flag=True, help="Let trading go on instead.")
@click.option("--reason", default="", metavar="TEXT", help="Why; shown to whoever asks.")
@verb
def kill(settings: Settings, release: bool, reason: str) -> Answer:
    """Stop all trading: within a second every order is cancelled and every new one refused.

    Works without servers, and holds over any restart, until --release. The word goes into a file
    of the home, which a service of this machine reads, and into Redis, which all others read; who
    can't be told now hears of it once Redis is back. Where this can't be run, an empty file
    HOME/run/killed.json stops this machine's trading, too, until --release.
    """
    home = settings.home.resolve()
    reason = " ".join(reason.split())[:REASON_CHARS_MAX]
    try:
        client = connected(valkey_url(home))
    except Unavailable:  # before `up`
        word = _say(home, None, release, reason)
        return _answer(word, told=False)
    with closing(client):
        word = _say(home, client, release, reason)
        try:
            client.ping()
        except RedisError:
            return _answer(word, told=False)
    return _answer(word, told=True)


def _say(home: Path, client: Redis | None, release: bool, reason: str) -> Word:
    switch = KillSwitch(home / KILLED, client, SystemClock())
    by = f"ticklake kill of {_user()}"
    if not release:
        return switch.throw(by, reason)
    try:
        return switch.release(by, reason)
    except RedisError:
        return switch.state()  # the file says so; the next look tells Redis


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as containers have
        return f"user {os.getuid()}"


def _answer(word: Word, *, told: bool) -> Answer:
    line = "trading is stopped" if word.killed else "trading goes on"
    away = "" if told else "; Redis is not there: other machines are not told yet"
    document = {"killed": word.killed, "at_us": word.at_us, "by": word.by, "reason": word.reason}
    return Answer({**document, "redis": told}, [f"{line}, says {word.by}{away}"])
